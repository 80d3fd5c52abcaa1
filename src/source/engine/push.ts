import { type Digest, isDigest } from "../../oci/digest.ts";
import { runEngine } from "./command.ts";
import type { Engine } from "./engine.ts";
import type { EngineImage } from "./inspect.ts";
import { MARK, portOf } from "./own-names.ts";

/** The time limit for removing names, also after an interruption. */
const REMOVAL_MS = 5000;

/** Tells whether the `docker` command reaches its engine through a local socket, and not over the network. */
export async function isEngineNear(engine: Engine): Promise<boolean> {
  const format = "{{.Endpoints.docker.Host}}";
  const { exitCode, stdout } = await runEngine(["context", "inspect", "--format", format], engine);
  return exitCode === 0 && /^(?:unix|npipe):/.test(stdout.trim());
}

/** An engine's push. */
export type EnginePush = {
  /** The digest of the pushed manifest, or index if the engine has all of it. Undefined if the push failed. */
  readonly digest: Digest | undefined;
  /** The engine's error output, for messages. */
  readonly said: string;
};

/**
 * Has the engine push an image to a registry on this machine, under a temporary name.
 *
 * @param name such as `127.0.0.1:5050/repository:tag`, with a repository of `unguessableName`
 */
export async function pushEngineImage(
  { id }: EngineImage,
  name: string,
  engine: Engine,
): Promise<EnginePush> {
  try {
    const tagged = await runEngine(["tag", id, name], engine);
    if (tagged.exitCode !== 0) return { digest: undefined, said: tagged.stderr };
    const { stdout, stderr } = await runEngine(["push", name], engine);
    // Docker prints a note after this line if it lacks a part of the image.
    const [, digest] = /\bdigest: (\S+) size: \d+\s*$/m.exec(stdout) ?? [];
    return { digest: digest !== undefined && isDigest(digest) ? digest : undefined, said: stderr };
  } finally {
    await removeNames([name], engine);
  }
}

/** Removes names that killed processes of this machine left: nobody listens on their ports. */
export async function removeLeftovers(engine: Engine): Promise<void> {
  const { stdout } = await runEngine(
    ["image", "ls", "--filter", `reference=127.0.0.1:*/${MARK}/*`, "--format", "{{.Repository}}:{{.Tag}}"],
    engine,
  );
  const left: string[] = [];
  for (const name of new Set(stdout.split("\n"))) {
    const port = portOf(name);
    if (port !== undefined && !(await isListening(port))) left.push(name);
  }
  if (left.length > 0) await removeNames(left, engine);
}

/** Removes names. The image keeps its others. The next push removes a name that stays. */
async function removeNames(names: readonly string[], engine: Engine): Promise<void> {
  const patient = { ...engine, signal: AbortSignal.timeout(REMOVAL_MS) };
  await runEngine(["image", "rm", ...names], patient).catch(() => undefined);
}

async function isListening(port: number): Promise<boolean> {
  const socket = await Bun.connect({ hostname: "127.0.0.1", port, socket: { data() {} } }).catch(
    () => undefined,
  );
  socket?.end();
  return socket !== undefined;
}
