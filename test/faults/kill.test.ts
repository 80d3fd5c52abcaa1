/**
 * The command is killed in the middle of a push, and run again: the image has to be there byte for byte, no more than
 * a chunk of each layer may have been sent twice (or no byte more than twice, at registries that forget an upload), and
 * nothing in the cache may be other than its name says.
 *
 *     CHUNKPUSH_KILL_PUSHES   at how many moments; 8 by default, and an eighth of them at each other registry; half of all that without all tests
 *     CHUNKPUSH_KILL_SEED     the first seed; 1 by default. To see one kill again, name its seed, and 1 moment
 *
 * A moment is a request, and a place in it: what a network sees, and no time. Layers are compressed while others go
 * up, so that many a kill meets a half-written cache, too.
 */
import { expect, setDefaultTimeout, test } from "bun:test";
import { join } from "node:path";
import pLimit from "p-limit";
import { type Moment, reset } from "../../dev/faults/fault.ts";
import { faultAtRequest, noFaults, type Plan, seededFraction } from "../../dev/faults/plan.ts";
import { type FaultProxy, startFaultProxy } from "../../dev/faults/proxy.ts";
import type { ProfileName } from "../../dev/registry/profiles.ts";
import { RUNS_ALL } from "../support/all-tests.ts";
import { dockerArchive } from "../support/image-forms.ts";
import { cliCommand, cliEnvironment } from "../support/run-cli.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";
import { whatIsWrongInCache } from "./cache-check.ts";
import { CHUNK_BYTES, layerOfChunks } from "./prepared-image.ts";
import { PROFILE_NAMES, strictTarget, whatDiffers } from "./push-target.ts";

setDefaultTimeout(1_800_000);

const PUSHES = Number(process.env["CHUNKPUSH_KILL_PUSHES"] ?? (RUNS_ALL ? 8 : 4));
const FIRST_SEED = Number(process.env["CHUNKPUSH_KILL_SEED"] ?? 1);

/** Whole processes, each with several threads. */
const atATime = pLimit(4);

const CHUNKS = [3, 30, 20, 40];
const image = dockerArchive(
  CHUNKS.map((chunks) => layerOfChunks(`kill ${chunks}`, chunks)),
  ["team/app:v1"],
);
/** The greeting and the manifest; for the config HEAD, POST and PUT; for a layer as well, and its chunks. */
const REQUESTS = 2 + 3 + CHUNKS.reduce((sum, chunks) => sum + 3 + chunks, 0);

/** More than config and manifest have, even twice. */
const SMALL_BYTES = 10_000;

type Run = {
  readonly seed: number;
  readonly moment: string;
  /** Undefined: all is as it should be. */
  readonly problem: string | undefined;
  /** How many temporary files the killed push left. */
  readonly leftovers: number;
};

/**
 * The request at which a push is killed, and where in it: the same for the same seed. Early ones are the more likely,
 * for layers are still compressed then.
 */
function momentOf(seed: number): { number: number; place: Moment } {
  const places = ["before", "middle", "after"] as const;
  return {
    number: 1 + Math.floor(seededFraction(`request ${seed}`) ** 2 * REQUESTS),
    place: places[Math.floor(seededFraction(`place ${seed}`) * places.length)] ?? "before",
  };
}

async function killOnce(seed: number, profile?: ProfileName): Promise<Run> {
  const { number, place } = momentOf(seed);
  await using folder = await temporaryFolder();
  await using target = await strictTarget(profile);
  await Bun.write(join(folder.path, "output.tar"), image.archive);
  const cache = join(folder.path, ".cache");
  let plan: Plan = noFaults;
  await using proxy = await startFaultProxy({
    upstreamHost: target.upstreamHost,
    plan: (request) => plan(request),
  });

  const child = startPush(folder.path, proxy);
  const kill = async () => {
    child.kill("SIGKILL");
    await child.exited;
  };
  plan = faultAtRequest(number, reset(place, { name: "killed", act: kill }));
  const killedError = await child.stderr.text();
  await child.exited;
  const moment = `${place} request ${number}, ${proxy.requests[number - 1]?.kind}`;
  const afterKill = await whatIsWrongInCache(cache);
  const result = (problem: string | undefined): Run => ({
    seed,
    moment,
    problem,
    leftovers: afterKill.leftovers,
  });
  if (child.signalCode !== "SIGKILL") return result(`It ended by itself: ${killedError}`);
  if (afterKill.problem !== undefined) return result(`After the kill, ${afterKill.problem}`);

  plan = noFaults;
  const again = startPush(folder.path, proxy);
  const [stderr, code] = await Promise.all([again.stderr.text(), again.exited]);
  if (code !== 0) return result(`The same command ended with ${code}: ${stderr}`);
  const differs = await whatDiffers(target, "team/app", { image });
  if (differs !== undefined) return result(`After the same command, there is ${differs}`);
  const { problem, blobBytes } = await whatIsWrongInCache(cache);
  const sentBytes = proxy.requests.reduce((sum, { bodyBytes }) => sum + bodyBytes, 0);
  const { resumes, refusedBytes = 0 } = target;
  const againBytes = resumes ? CHUNKS.length * CHUNK_BYTES : blobBytes + CHUNKS.length * refusedBytes;
  const allowedBytes = blobBytes + againBytes + SMALL_BYTES;
  if (sentBytes > allowedBytes)
    return result(`${sentBytes} bytes were sent, which is more than ${allowedBytes}`);
  return result(problem);
}

function startPush(cwd: string, { host }: FaultProxy) {
  const flags = ["--parallel", "2", "--chunk-size", `${CHUNK_BYTES}`];
  return Bun.spawn(cliCommand([...flags, `${host}/team/app:v1`]), {
    cwd,
    env: cliEnvironment({ cwd }),
    stdin: "ignore",
    stdout: "ignore",
    stderr: "pipe",
  });
}

/** Kills a push at so many moments. */
async function killMany(pushes: number, profile?: ProfileName): Promise<void> {
  const seeds = Array.from({ length: pushes }, (_, i) => FIRST_SEED + i);
  const runs = await Promise.all(seeds.map((seed) => atATime(() => killOnce(seed, profile))));
  const failed = runs.filter(({ problem }) => problem !== undefined);
  const leftovers = runs.filter((run) => run.leftovers > 0).length;
  console.log(
    `Killed, seeds ${FIRST_SEED} to ${FIRST_SEED + pushes - 1}: ${pushes - failed.length} of ${pushes} pushes ` +
      `ended well with the same command; ${leftovers} were killed while a file of the cache was written.`,
  );
  expect(failed).toEqual([]);
}

test(`A push that is killed at one of ${PUSHES} moments is ended by the same command`, () =>
  killMany(PUSHES));

test.each(PROFILE_NAMES.filter((_, i) => RUNS_ALL || i % 2 === 0))(
  "A push to a registry like %s that is killed is ended by the same command",
  (profile) => killMany(Math.ceil(PUSHES / 8), profile),
);
