/** Pushes from one docker-registry to another, compared with what `skopeo copy --all` brings. */
import { expect, setDefaultTimeout, test } from "bun:test";
import { readdir } from "node:fs/promises";
import { type AddressInfo, createConnection, createServer } from "node:net";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { runWell, waitFor } from "../support/command.ts";
import { startDockerRegistry } from "../support/docker-registry.ts";
import { runCli } from "../support/run-cli.ts";
import { seededBytes } from "../support/seeded-bytes.ts";
import { sha256 } from "../support/sha256.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";

setDefaultTimeout(120_000);

const RAW = seededBytes(8_000_000, "a layer of all platforms");
const LARGE = gzipSync(RAW);

/** Writes an OCI layout with an index: two platforms that share a layer, and an attestation. */
async function writeLayout(folder: string): Promise<void> {
  const encode = (text: string) => new TextEncoder().encode(text);
  async function blob(content: Uint8Array | string, mediaType: string) {
    const bytes = typeof content === "string" ? encode(content) : content;
    const digest = sha256(bytes);
    await Bun.write(join(folder, "blobs/sha256", digest.slice("sha256:".length)), bytes);
    return { mediaType, digest, size: bytes.length };
  }
  const type = (kind: string) => `application/vnd.oci.image.${kind}`;
  async function manifest(config: object, layers: object[]) {
    const mediaType = type("manifest.v1+json");
    return blob(JSON.stringify({ schemaVersion: 2, mediaType, config, layers }, null, 2), mediaType);
  }
  const layer = type("layer.v1.tar+gzip");
  const entries: object[] = [];
  for (const architecture of ["amd64", "arm64"]) {
    const own = seededBytes(1000, architecture);
    const diffIds = [RAW, own].map(sha256);
    const content = { os: "linux", architecture, rootfs: { type: "layers", diff_ids: diffIds } };
    const config = await blob(JSON.stringify(content), type("config.v1+json"));
    const layers = [await blob(LARGE, layer), await blob(gzipSync(own), layer)];
    const image = await manifest(config, layers);
    entries.push({ ...image, platform: { os: "linux", architecture } });
  }
  const statement = await blob('{"_type":"statement"}', "application/vnd.in-toto+json");
  const attestation = await manifest(await blob('{"rootfs":{}}', type("config.v1+json")), [statement]);
  entries.push({ ...attestation, platform: { os: "unknown", architecture: "unknown" } });
  const mediaType = type("index.v1+json");
  const index = await blob(JSON.stringify({ schemaVersion: 2, mediaType, manifests: entries }), mediaType);
  await Bun.write(join(folder, "index.json"), JSON.stringify({ schemaVersion: 2, manifests: [index] }));
  await Bun.write(join(folder, "oci-layout"), '{"imageLayoutVersion":"1.0.0"}');
}

const UNSAFE = ["--insecure-policy", "--src-tls-verify=false", "--dest-tls-verify=false"];

/** Everything that skopeo reads under a name, by file name. */
async function readAll(reference: string): Promise<Record<string, string>> {
  await using folder = await temporaryFolder();
  await runWell(["skopeo", "copy", "-q", "--all", ...UNSAFE, `docker://${reference}`, `dir:${folder.path}`]);
  const names = (await readdir(folder.path)).sort();
  const files = names.map(async (name) => [name, sha256(await Bun.file(join(folder.path, name)).bytes())]);
  return Object.fromEntries(await Promise.all(files));
}

/** Passes connections on to a registry. The first one that brings so many bytes breaks. */
async function startBreakingRelay(host: string, breakAfterBytes: number) {
  const [hostname = "", port = ""] = host.split(":");
  let hasBroken = false;
  const server = createServer((client) => {
    const registry = createConnection(Number(port), hostname);
    let passedBytes = 0;
    registry.on("data", (bytes) => {
      passedBytes += bytes.length;
      if (!hasBroken && passedBytes > breakAfterBytes) {
        hasBroken = true;
        client.destroy();
        registry.destroy();
      } else client.write(bytes);
    });
    client.on("data", (bytes) => registry.write(bytes));
    for (const [one, other] of [
      [client, registry],
      [registry, client],
    ] as const) {
      one.on("error", () => other.destroy());
      one.on("end", () => other.end());
    }
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    host: `127.0.0.1:${(server.address() as AddressInfo).port}`,
    [Symbol.asyncDispose]: async () => void server.close(),
  };
}

test("an index of docker-registry arrives as skopeo copies it, over a connection that breaks, and once", async () => {
  await using folder = await temporaryFolder();
  await using source = await startDockerRegistry();
  await using target = await startDockerRegistry();
  await using relay = await startBreakingRelay(source.host, 5_000_000);
  await writeLayout(join(folder.path, "layout"));
  const layout = `oci:${join(folder.path, "layout")}`;
  await runWell(["skopeo", "copy", "-q", "--all", ...UNSAFE, layout, `docker://${source.host}/their/app:v1`]);

  const named = (tag: string) => `${target.host}/my/app:${tag}`;
  const args = [`docker://${relay.host}/their/app:v1`, named("v1")];
  const { code, stderr, stdout } = await runCli(args, { cwd: folder.path });
  expect(code, stderr).toBe(0);
  const original = await readAll(`${source.host}/their/app:v1`);
  expect(stdout).toBe(`${named("v1")}@${original["manifest.json"]}\n`);
  expect(await readAll(named("v1"))).toEqual(original);
  const path = `/v2/their/app/blobs/${sha256(LARGE)}`;
  await waitFor(
    "the rest of the layer",
    async () =>
      (await source.requests()).some((request) => request.path === path && request.status === 206) ||
      undefined,
  );

  const again = await runCli([args[0] as string, named("v2")], { cwd: folder.path });
  expect(again.code, again.stderr).toBe(0);
  expect(again.stderr).toContain(": nothing to send");
  const gets = (await source.requests()).filter(
    ({ method, path }) => method === "GET" && path.includes("/blobs/"),
  );
  // Seven blobs, of which one came in two parts.
  expect(gets).toHaveLength(8);
});

test("an image of docker-registry is mounted in another repository of it", async () => {
  await using folder = await temporaryFolder();
  await using registry = await startDockerRegistry({ credentials: { username: "me", password: "hush" } });
  await writeLayout(join(folder.path, "layout"));
  const layout = `oci:${join(folder.path, "layout")}`;
  const from = `docker://${registry.host}/their/app:v1`;
  await runWell(["skopeo", "copy", "-q", "--all", "--dest-creds=me:hush", ...UNSAFE, layout, from]);
  const args = ["--username", "me", from, `${registry.host}/my/app:v1`];
  const { code, stderr } = await runCli(args, { cwd: folder.path, input: "hush" });
  expect(code, stderr).toBe(0);
  expect(stderr).toContain(": nothing to send");
  const reads = (await registry.requests()).filter(
    ({ method, path }) => method === "GET" && path.includes("/blobs/"),
  );
  expect(reads).toEqual([]);
});
