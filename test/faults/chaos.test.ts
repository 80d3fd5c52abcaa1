/**
 * Three requests of ten meet a fault, seeded and of every sort, and every push has to succeed all the same:
 *
 *     CHUNKPUSH_CHAOS_PUSHES   how many pushes, each with the next seed; 10 by default, and a tenth of them at each other registry
 *     CHUNKPUSH_CHAOS_SEED     the first seed; 4 by default. To see one push again, name its seed, and 1 push
 *
 * Every other push needs tokens. A push sends one request after another, so that a seed stands for the same faults in every run.
 */
import { expect, setDefaultTimeout, test } from "bun:test";
import pLimit from "p-limit";
import { answer, type Fault, redirect, reset, stall, throttle, tooMany } from "../../dev/faults/fault.ts";
import { allOf, type Plan, seededFaults, seededFraction } from "../../dev/faults/plan.ts";
import { startFaultProxy } from "../../dev/faults/proxy.ts";
import type { RequestKind } from "../../dev/faults/request-kind.ts";
import type { ProfileName } from "../../dev/registry/profiles.ts";
import { messageOf } from "../../src/errors.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";
import { CHUNK_BYTES, layerOfChunks, type PreparedImage, prepareImage, pushImage } from "./prepared-image.ts";
import { PROFILE_NAMES, type PushTarget, strictTarget, tokenTarget, whatDiffers } from "./push-target.ts";

setDefaultTimeout(1_800_000);

const PUSHES = Number(process.env["CHUNKPUSH_CHAOS_PUSHES"] ?? 10);
// The third is out of luck: it waits for most of a minute.
const FIRST_SEED = Number(process.env["CHUNKPUSH_CHAOS_SEED"] ?? 4);
const SHARE = 0.3;
/** Enough for any row of bad luck; progress gives them back. */
const RETRIES = 50;

/** Most of the time is spent in the waits before retries. */
const atATime = pLimit(25);

const ANSWERS: readonly Fault[] = [
  ...[408, 500, 502, 503, 520, 524].map((status) => answer(status)),
  ...[408, 503, 524].map((status) => answer(status, "unread")),
  tooMany("seconds", 1),
  tooMany("date", 1),
  throttle(1_000_000),
];
const REDIRECTS = [redirect(), redirect("unread")];

function faultsFor(kind: RequestKind, target: PushTarget): readonly Fault[] {
  const restart = { name: "restart", act: () => target.restart() };
  const moments = ["before", "middle", "after"] as const;
  // Nobody takes a token to another origin.
  const others = target.env === undefined ? REDIRECTS : kind === "token" ? [] : [target.tokensExpire];
  return [
    ...ANSWERS,
    ...others,
    answer(503, "cut"),
    stall(),
    ...moments.flatMap((at) => [reset(at), reset(at, restart)]),
  ];
}

/** Blobs start again in chunks of half the size, and stay there: more than one of these, and nothing is left. */
const SIZE_REFUSALS = [answer(413), answer(413, "unread"), answer(416)];

/** One of the first chunks is refused for its size, as by a limit that nobody announced. */
function oneSizeRefused(seed: number): Plan {
  const fault = SIZE_REFUSALS[Math.floor(seededFraction(`size ${seed}`) * SIZE_REFUSALS.length)];
  const chunk = 1 + Math.floor(seededFraction(`chunk ${seed}`) * 3);
  let chunks = 0;
  return ({ kind }) => (/-patch$/.test(kind) && ++chunks === chunk ? fault : undefined);
}

type Run = {
  readonly seed: number;
  /** Undefined: the push succeeded, and every byte is there. */
  readonly problem: string | undefined;
  readonly requests: number;
  readonly faults: number;
  readonly sentBytes: number;
};

async function runPush(seed: number, image: PreparedImage, profile?: ProfileName): Promise<Run> {
  await using target = await (profile !== undefined || seed % 2 === 0
    ? strictTarget(profile)
    : tokenTarget());
  await using proxy = await startFaultProxy({
    upstreamHost: target.upstreamHost,
    plan: allOf(
      oneSizeRefused(seed),
      seededFaults(seed, SHARE, (kind) => faultsFor(kind, target)),
    ),
    blobBytes: image.layers.map(({ descriptor }) => descriptor.size),
  });
  target.sendForTokens(`${proxy.url}/token`);
  const flags = ["--parallel", "1", "--chunk-size", `${CHUNK_BYTES}`, "--retries", `${RETRIES}`];
  const patience = ["--stall-timeout", "1"];
  const problem = await pushImage(
    image,
    `${proxy.host}/team/app:v1`,
    [...flags, ...patience],
    target.env,
  ).then(
    () => whatDiffers(target, "team/app", image),
    (error: unknown) => messageOf(error),
  );
  if (problem !== undefined) {
    const lines = proxy.requests.map(
      ({ kind, status, fault, bodyBytes }) =>
        `  ${status} ${kind}, ${bodyBytes} bytes, ${fault ?? "no fault"}`,
    );
    console.log(`Seed ${seed} failed: ${problem}\n${lines.join("\n")}`);
  }
  return {
    seed,
    problem,
    requests: proxy.requests.length,
    faults: proxy.requests.filter(({ fault }) => fault !== undefined).length,
    sentBytes: proxy.requests.reduce((sum, { bodyBytes }) => sum + bodyBytes, 0),
  };
}

/** Pushes so often, at a registry like another one if that is named. */
async function pushThroughChaos(pushes: number, profile?: ProfileName): Promise<void> {
  await using folder = await temporaryFolder();
  const layers = [5, 3, 1].map((chunks) => layerOfChunks(`chaos ${chunks}`, chunks));
  const image = await prepareImage(folder.path, "chaos", layers);
  const seeds = Array.from({ length: pushes }, (_, i) => FIRST_SEED + i);
  const runs = await Promise.all(seeds.map((seed) => atATime(() => runPush(seed, image, profile))));

  const failed = runs.filter(({ problem }) => problem !== undefined);
  const sum = (count: (run: Run) => number) => runs.reduce((total, run) => total + count(run), 0);
  const last = FIRST_SEED + pushes - 1;
  const overhead = (100 * sum(({ sentBytes }) => sentBytes - image.sentBytes)) / (pushes * image.sentBytes);
  console.log(
    `Chaos, seeds ${FIRST_SEED} to ${last}: ${pushes - failed.length} of ${pushes} pushes succeeded, through ` +
      `${sum(({ faults }) => faults)} faults in ${sum(({ requests }) => requests)} requests; ` +
      `${Math.round(overhead)} % of the bytes were sent again.`,
  );
  expect(failed).toEqual([]);
  expect(sum(({ faults }) => faults)).toBeGreaterThan(pushes);
}

test.concurrent(`${PUSHES} pushes succeed where ${SHARE * 100} % of the requests meet a fault`, () =>
  pushThroughChaos(PUSHES));

// One begins a blob anew at every failed chunk, and takes most of a minute.
const PROFILES_HERE = PROFILE_NAMES.filter((name) => name !== "go-containerregistry" || PUSHES > 10);
test.concurrent.each(PROFILES_HERE)(
  "Pushes to a registry like %s succeed through as many faults",
  (profile) => pushThroughChaos(Math.ceil(PUSHES / 10), profile),
);
