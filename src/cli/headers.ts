import { PushError } from "../errors.ts";

/** Reads headers from flags and a variable's lines. Flags override lines. Throws `USAGE`, and quotes no header. */
export function headersOf(flags: readonly string[] = [], lines = ""): Record<string, string> {
  const given = [...lines.split(/\r?\n/).filter((line) => line.trim() !== ""), ...flags];
  const headers = given.map((line) => {
    const colon = line.indexOf(":");
    if (colon > 0) return [line.slice(0, colon).trim().toLowerCase(), line.slice(colon + 1)] as const;
    throw new PushError("USAGE", "A header has no name before a colon.", {
      hint: "Use: --header 'CF-Access-Client-Id: …', or CHUNKPUSH_HEADERS with one header per line.",
    });
  });
  return Object.fromEntries(headers);
}
