import { type Digest, isDigest } from "../../oci/digest.ts";
import { runEngine } from "./command.ts";
import type { Engine } from "./engine.ts";
import type { EngineImage } from "./inspect.ts";
import { MARK, portOf } from "./own-names.ts";

/** How long the removal of a name may take after an interruption. */
const REMOVAL_MS = 5000;

/** Tells whether the `docker` command reaches an engine through this machine, and not over the network. */
export async function isEngineNear(engine: Engine): Promise<boolean> {
  const format = "{{.Endpoints.docker.Host}}";
  const { exitCode, stdout } = await runEngine(["context", "inspect", "--format", format], engine);
  return exitCode === 0 && /^(?:unix|npipe):/.test(stdout.trim());
}

/** An engine's push. */
export type EnginePush = {
  /** What it pushed: an index, if it has the whole of it, or a manifest. Undefined: the push failed. */
  readonly digest: Digest | undefined;
  /** What the engine said, for messages. */
  readonly said: string;
};

/**
 * Has the engine push an image to a registry on this machine, under a name that it loses again.
 *
 * @param name `127.0.0.1:5050/repository:tag`, one of ours
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
    // A note follows where only a part of the image is there.
    const [, digest] = /\bdigest: (\S+) size: \d+\s*$/m.exec(stdout) ?? [];
    return { digest: digest !== undefined && isDigest(digest) ? digest : undefined, said: stderr };
  } finally {
    await removeNames([name], engine);
  }
}

/** Removes names that killed processes of this machine have left: nobody listens at their address any more. */
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

/** Removes names. The image has others, and stays. A name that cannot be removed is left to the next push. */
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
