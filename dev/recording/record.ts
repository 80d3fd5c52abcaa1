/**
 * Records docs/push.svg: a real push, in a real terminal (tmux), to a registry of this machine behind a slow link that
 * breaks a request. `bun dev/recording/record.ts [FILE]`
 */
import { chmod, mkdir, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { seededRandom } from "../bench/random.ts";
import { makeImage } from "../demo/make-image.ts";
import { answer, slowLink } from "../faults/fault.ts";
import { allOf, faultAt } from "../faults/plan.ts";
import { startFaultProxy } from "../faults/proxy.ts";
import { startStrictRegistry } from "../registry/registry.ts";
import { drawRecording } from "./draw.ts";
import { startFront } from "./front.ts";
import { type Frame, parseScreen } from "./screen.ts";

const SIZE = { columns: 80, rows: 15 };
const FRAME_MS = 160;
const KEYS_PER_FRAME = 4;
const PATIENCE_MS = 60_000;
const NAME = "registry.example.com";
const COMMAND = `chunkpush image.tar ${NAME}/my/app:v1`;
const LAYER_MEGABYTES = [3, 7, 12, 18];
const LINK = { bytesPerSecond: 6_000_000, latencyMs: 40 };

const file = process.argv[2] ?? join(import.meta.dir, "../../docs/push.svg");
const folder = await mkdtemp(join(tmpdir(), "chunkpush-recording-"));
try {
  const frames = await recordPush();
  await Bun.write(file, drawRecording(frames, SIZE, `A push to ${NAME}, with a retry, in a terminal`));
  console.log(`${file}: ${frames.length} frames, ${Bun.file(file).size} bytes`);
} finally {
  await rm(folder, { recursive: true, force: true });
}

async function recordPush(): Promise<Frame[]> {
  const credentials = { username: "me", password: "recorded" };
  await using registry = await startStrictRegistry({
    directory: join(folder, "registry"),
    credentials,
    minChunkBytes: 1_000_000,
    maxChunkBytes: 2_000_000,
  });
  const link = slowLink(LINK);
  await using proxy = await startFaultProxy({
    upstreamHost: () => registry.host,
    plan: allOf(faultAt("middle-patch", 6, answer(503)), () => link),
  });
  await using front = await startFront(join(folder, "front"), NAME, proxy.host);

  const work = join(folder, "work");
  await mkdir(work);
  const { archivePath } = await makeImage(
    join(folder, "image"),
    "my/app:v1",
    LAYER_MEGABYTES.map((megabytes) => ({ "data.bin": noise(megabytes) })),
  );
  await Bun.write(join(work, "image.tar"), Bun.file(archivePath));
  const login = Buffer.from(`${credentials.username}:${credentials.password}`).toString("base64");
  await Bun.write(join(folder, "docker/config.json"), JSON.stringify({ auths: { [NAME]: { auth: login } } }));
  const bin = join(folder, "bin");
  const script = join(import.meta.dir, "../../index.ts");
  await Bun.write(join(bin, "chunkpush"), `#!/bin/sh\nexec '${process.execPath}' run '${script}' "$@"\n`);
  await chmod(join(bin, "chunkpush"), 0o755);
  return await recordTerminal(work, {
    ...front.env,
    PATH: [bin, process.env["PATH"]].join(delimiter),
    DOCKER_CONFIG: join(folder, "docker"),
    HOME: folder,
    LANG: "C.UTF-8",
    PS1: "$ ",
  });
}

/** Types the command as a user does, and looks at the screen until the digest is there. */
async function recordTerminal(cwd: string, env: Readonly<Record<string, string>>): Promise<Frame[]> {
  const socket = join(folder, "tmux");
  const tmux = (...args: readonly string[]) => {
    const { exitCode, stdout, stderr } = Bun.spawnSync(
      ["tmux", "-u", "-S", socket, "-f", "/dev/null", ...args],
      {
        cwd,
        env,
      },
    );
    if (exitCode !== 0) throw new Error(`tmux ${args[0]}: ${stderr}`);
    return stdout.toString();
  };
  const { columns, rows } = SIZE;
  tmux("new-session", "-d", "-x", `${columns}`, "-y", `${rows}`, "bash", "--noprofile", "--norc");
  try {
    const frames: Frame[] = [];
    let before = "";
    const started = performance.now();
    const elapsed = () => performance.now() - started;
    const keys = [...COMMAND, "Enter"];
    for (let isDone = false; !isDone && elapsed() < PATIENCE_MS; await Bun.sleep(FRAME_MS)) {
      const screen = tmux("capture-pane", "-e", "-p").trimEnd();
      // What is typed before the prompt is there shows twice.
      if (!screen.startsWith("$")) continue;
      if (screen !== before) frames.push({ atMs: elapsed(), lines: parseScreen(screen) });
      before = screen;
      isDone = screen.includes("@sha256:") && /\n\$ *$/.test(screen);
      for (const key of keys.splice(0, KEYS_PER_FRAME))
        tmux("send-keys", ...(key === "Enter" ? [key] : ["-l", key]));
    }
    if (!before.includes("@sha256:")) throw new Error(`The push did not end well:\n${before}`);
    const [first] = frames;
    return frames.map((frame) => ({ ...frame, atMs: frame.atMs - (first?.atMs ?? 0) }));
  } finally {
    tmux("kill-server");
  }
}

/** Bytes that no compression makes smaller, the same in every run. */
function noise(megabytes: number): Uint8Array {
  const random = seededRandom(`${megabytes} MB`);
  return new Uint8Array(Uint32Array.from({ length: (megabytes * 1e6) / 4 }, random.next).buffer);
}
