import type { CaseResult, ContenderResult, Run } from "./run-case.ts";

/** A contender's runs in one line: medians, and how they compare with the first one's. */
export type Line = {
  readonly name: string;
  /** Why there are no numbers. */
  readonly remark: string | undefined;
  readonly wallMs: number | undefined;
  readonly cpuMs: number | undefined;
  readonly registryCpuMs: number | undefined;
  /** Of clients and daemons together. */
  readonly peakRssBytes: number | undefined;
  readonly daemonRssBytes: number | undefined;
  readonly sentBytes: number | undefined;
  readonly writtenBytes: number | undefined;
  readonly wallRatio: number | undefined;
  readonly bytesRatio: number | undefined;
};

/** What a case came to. */
export type Summary = { readonly title: string; readonly lines: readonly Line[] };

/**
 * @param bytesPerSecond of the slow link, where there is one: then times are compared with what the link needs for the
 *   contender's own blobs
 */
export function summarize({ title, results }: CaseResult, bytesPerSecond?: number): Summary {
  const medians = results.map(({ runs }) => mediansOf(runs));
  const baseline = medians.find(({ wallMs }) => wallMs !== undefined);
  const lines = results.map((result, i): Line => {
    const own = medians[i] ?? mediansOf([]);
    const limitMs =
      bytesPerSecond === undefined
        ? baseline?.wallMs
        : own.storedBytes && (own.storedBytes / bytesPerSecond) * 1000;
    const bytesBase = bytesPerSecond === undefined ? baseline?.storedBytes : own.storedBytes;
    const sentBytes = own.linkBytes ?? own.storedBytes;
    return {
      ...own,
      name: result.name,
      remark: remarkOn(result),
      sentBytes,
      wallRatio: ratio(own.wallMs, limitMs),
      bytesRatio: ratio(sentBytes, bytesBase),
    };
  });
  return { title, lines };
}

function remarkOn({ skipped, failed }: ContenderResult): string | undefined {
  if (skipped !== undefined) return `left out: ${skipped}`;
  return failed === undefined ? undefined : `failed: ${failed}`;
}

function mediansOf(runs: readonly Run[]) {
  const of = (key: keyof Run) => median(runs.map((run) => run[key]).filter((value) => value !== undefined));
  return {
    wallMs: of("wallMs"),
    cpuMs: of("cpuMs"),
    registryCpuMs: of("registryCpuMs"),
    peakRssBytes: of("peakRssBytes"),
    daemonRssBytes: of("daemonRssBytes"),
    storedBytes: of("storedBytes"),
    linkBytes: of("linkBytes"),
    writtenBytes: of("writtenBytes"),
  };
}

function median(values: readonly number[]): number | undefined {
  const sorted = [...values].sort((a, b) => a - b);
  const [low, high] = [sorted[Math.floor((sorted.length - 1) / 2)], sorted[Math.floor(sorted.length / 2)]];
  return low === undefined || high === undefined ? undefined : (low + high) / 2;
}

function ratio(value: number | undefined, base: number | undefined): number | undefined {
  return value === undefined || !base ? undefined : value / base;
}
