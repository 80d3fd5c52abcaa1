/** Layers as engines keep them: headers in one file, and each file's content unpacked. */
import { mkdir } from "node:fs/promises";
import { dirname, join } from "node:path";
import type { SplitLayer } from "../../src/source/storage/tar-split.ts";
import { type FixtureMember, memberBytes, tarBytes } from "../support/tar-fixture.ts";

/** What tar-split writes for a part of an archive. */
type SplitEntry = Readonly<Record<string, unknown>>;

/** Takes an archive apart as tar-split does. */
export function splitEntries(members: readonly FixtureMember[]): SplitEntry[] {
  const entries = members.flatMap((member): SplitEntry[] => {
    const size = Buffer.byteLength(member.body ?? "");
    const bytes = memberBytes(member);
    // Headers for the next member.
    if (/^[LKxg]$/.test(member.flag ?? "0")) return [{ type: 2, payload: bytes.toString("base64") }];
    const name = { name: member.path };
    return [
      { type: 2, payload: bytes.subarray(0, 512).toString("base64") },
      size === 0 ? { type: 1, ...name, payload: null } : { type: 1, ...name, size, payload: "Rx0kYGDgQNs=" },
      ...(bytes.length === 512 + size
        ? []
        : [{ type: 2, payload: bytes.subarray(512 + size).toString("base64") }]),
    ];
  });
  return [...entries, { type: 2, payload: Buffer.alloc(1024).toString("base64") }];
}

export function packEntries(entries: readonly (SplitEntry | string)[]): Uint8Array<ArrayBuffer> {
  const lines = entries.map((entry, position) =>
    typeof entry === "string" ? entry : JSON.stringify({ ...entry, position }),
  );
  return Bun.gzipSync(`${lines.join("\n")}\n`);
}

/** Writes headers and files below a folder. */
export async function writeSplitLayer(
  layer: SplitLayer,
  members: readonly FixtureMember[],
  entries: readonly (SplitEntry | string)[] = splitEntries(members),
): Promise<Uint8Array<ArrayBuffer>> {
  await mkdir(join(layer.root, layer.files), { recursive: true });
  await Bun.write(join(layer.root, layer.headers), packEntries(entries));
  for (const { path, body, flag = "0" } of members) {
    const file = join(layer.root, layer.files, path);
    await mkdir(dirname(file), { recursive: true });
    if (flag === "0") await Bun.write(file, body ?? "");
  }
  return tarBytes(members);
}
