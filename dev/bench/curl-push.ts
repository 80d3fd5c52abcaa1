/**
 * `bun curl-push.ts ORIGIN CHUNKS_JSON [CA_FILE]` uploads blobs with curl, three at a time: what the registry and the
 * link allow. It checks nothing, and compresses nothing.
 */
import pLimit from "p-limit";
import * as v from "valibot";
import { SPLIT_BLOBS, type SplitBlob } from "./split-blobs.ts";

/** As many as chunkpush has by default. */
const PARALLEL = 3;

const [origin = "", plan = "", caFile] = process.argv.slice(2);
const uploading = pLimit(PARALLEL);
const blobs = v.parse(SPLIT_BLOBS, await Bun.file(plan).json());
await Promise.all(blobs.map((blob) => uploading(() => uploadBlob(blob))));

async function uploadBlob({ digest, chunks }: SplitBlob): Promise<void> {
  let location = await curl("POST", `${origin}/v2/bench/app/blobs/uploads/`, "202", ["--data", ""]);
  for (const { path, start, end } of chunks) {
    const headers = ["Content-Type: application/octet-stream", `Content-Range: ${start}-${end}`, "Expect:"];
    const body = [...headers.flatMap((header) => ["--header", header]), "--upload-file", path];
    location = await curl("PATCH", location, "202", body);
  }
  await curl("PUT", `${location}${location.includes("?") ? "&" : "?"}digest=${digest}`, "201", [
    "--data",
    "",
  ]);
}

/** @returns where the answer sends the next request */
async function curl(method: string, url: string, wanted: string, body: readonly string[]): Promise<string> {
  const trust = caFile === undefined ? [] : ["--cacert", caFile];
  const what = ["--write-out", "\n%{http_code} %header{location}", "--request", method, ...body, url];
  // Over TLS curl would take HTTP/2, whose uploads are slower; chunkpush speaks HTTP/1.1.
  const child = Bun.spawn(["curl", "--http1.1", "--silent", "--show-error", ...trust, ...what], {
    stdin: "ignore",
    stdout: "pipe",
    stderr: "pipe",
  });
  const [stdout, stderr] = await Promise.all([child.stdout.text(), child.stderr.text(), child.exited]);
  const [status, location = ""] = (stdout.split("\n").at(-1) ?? "").split(" ");
  if (status !== wanted) throw new Error(`curl ${method} ${url}: ${status} ${stdout} ${stderr}`);
  return location;
}
