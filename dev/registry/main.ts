import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { startStrictRegistry } from "./registry.ts";

const USAGE = `Usage: bun dev/registry/main.ts [options]

  --port N         port to listen on (default 5000, 0 for any)
  --directory DIR  where to keep the blobs (default a folder in the system's temporary one)
  --username U     ask for these credentials
  --password P
  --max-chunk N    largest chunk and request body, in bytes (default 100000000)
  --min-chunk N    smallest chunk, in bytes (default 5242880)
  --help`;

const { values } = parseArgs({
  options: {
    port: { type: "string", default: "5000" },
    directory: { type: "string", default: join(tmpdir(), "chunkpush-strict-registry") },
    username: { type: "string" },
    password: { type: "string" },
    "max-chunk": { type: "string" },
    "min-chunk": { type: "string" },
    help: { type: "boolean" },
  },
});

if (values.help) {
  console.log(USAGE);
  process.exit();
}

const { username, password } = values;
if ((username === undefined) !== (password === undefined)) {
  throw new Error("Set --username and --password together: got only one of them.");
}
const maxChunkBytes = wholeNumber("--max-chunk", values["max-chunk"]);
const minChunkBytes = wholeNumber("--min-chunk", values["min-chunk"]);
const registry = await startStrictRegistry({
  port: wholeNumber("--port", values.port) ?? 0,
  directory: values.directory,
  ...(username !== undefined && password !== undefined && { credentials: { username, password } }),
  ...(maxChunkBytes !== undefined && { maxChunkBytes }),
  ...(minChunkBytes !== undefined && { minChunkBytes }),
  onRequest: ({ status, method, path, query, bodyBytes }) => {
    console.log(`${status} ${method} ${path}${query} ${bodyBytes} bytes`);
  },
});
console.log(registry.url);

process.once("SIGINT", async () => {
  await registry.stop();
  process.exit();
});

function wholeNumber(option: string, value: string | undefined): number | undefined {
  if (value === undefined) return undefined;
  if (!/^\d+$/.test(value)) throw new Error(`Set ${option} to a whole number: got "${value}".`);
  return Number(value);
}
