/** One push to several targets: `-t` several times. */
import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { join } from "node:path";
import type { Intercept } from "../../dev/registry/answer-request.ts";
import type { StrictRegistryOptions } from "../../dev/registry/registry.ts";
import { push } from "../../index.ts";
import { digestOf } from "../../src/oci/digest.ts";
import { openJob } from "../../src/push/job.ts";
import { dockerArchive } from "../support/image-forms.ts";
import { rejection } from "../support/rejection.ts";
import { type CliOptions, runCli } from "../support/run-cli.ts";
import { seededBytes } from "../support/seeded-bytes.ts";
import { tarBytes } from "../support/tar-fixture.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";
import { basic, startTestRegistry, type TestRegistry } from "../support/test-registry.ts";
import { TELLS_EVENTS, toldBlobs, toldEvents } from "../support/told-events.ts";

// Whole processes, several at a time: a busy machine may need long for what takes a moment.
setDefaultTimeout(60_000);

const LAYER = new Uint8Array(tarBytes([{ path: "file", body: seededBytes(50_000, 1) }]));
const ME = { username: "me", password: "hush-Xq7" };

/** A folder with an image, and registries, each with the headers that reached it. */
async function setUp(...options: Partial<StrictRegistryOptions>[]) {
  const resources = new AsyncDisposableStack();
  const folder = resources.use(await temporaryFolder());
  await Bun.write(join(folder.path, "output.tar"), dockerArchive([LAYER], ["my/app:v1"]).archive);
  const registries: (TestRegistry & { seen: Headers[] })[] = [];
  for (const each of options) {
    const seen: Headers[] = [];
    const intercept: Intercept = ({ headers }) => void seen.push(headers);
    registries.push({ ...resources.use(await startTestRegistry({ intercept, ...each })), seen });
  }
  return {
    folder: folder.path,
    registries,
    hosts: registries.map(({ host }) => host),
    run: (targets: string[], cli: Partial<CliOptions> = {}) =>
      runCli(
        targets.flatMap((target) => ["-t", target]),
        { cwd: folder.path, env: TELLS_EVENTS, ...cli },
      ),
    [Symbol.asyncDispose]: () => resources.disposeAsync(),
  };
}

const uploadsAt = (registry: TestRegistry | undefined) => registry?.recorded("close-upload").length;
const mountsAt = (registry: TestRegistry | undefined) =>
  registry?.requests.filter(({ query, status }) => query.includes("mount=") && status === 201).length;

describe("several targets", () => {
  test("of one repository get a manifest each, and its blobs are sent once", async () => {
    await using setup = await setUp({});
    const targets = ["v1", "latest"].map((tag) => `${setup.hosts[0]}/my/app:${tag}`);
    const { code, stdout, stderr } = await setup.run(targets);
    expect(code, stderr).toBe(0);
    const [registry] = setup.registries;
    const manifest = (await registry?.pullManifest("my/app", "v1")) ?? "";
    expect(await registry?.pullManifest("my/app", "latest")).toBe(manifest);
    expect(stdout).toBe(targets.map((target) => `${target}@${digestOf(manifest)}\n`).join(""));
    expect(uploadsAt(registry)).toBe(2);
    expect(registry?.recorded("head-blob")).toHaveLength(2);
  });

  test("of two repositories at one registry mount the blobs of the first in the second", async () => {
    await using setup = await setUp({});
    const { code, stderr } = await setup.run(
      ["my/app", "other/app"].map((name) => `${setup.hosts[0]}/${name}:v1`),
    );
    expect(code, stderr).toBe(0);
    const [registry] = setup.registries;
    expect(await registry?.pullManifest("other/app", "v1")).toBe(
      await registry?.pullManifest("my/app", "v1"),
    );
    expect([uploadsAt(registry), mountsAt(registry)]).toEqual([2, 2]);
  });

  test("at two registries get what is compressed once", async () => {
    await using setup = await setUp({}, {});
    const targets = setup.hosts.map((host) => `${host}/my/app:v1`);
    const { code, stdout, stderr } = await setup.run(targets);
    expect(code, stderr).toBe(0);
    expect(stdout.match(/sha256:\w+/g)).toHaveLength(2);
    for (const registry of setup.registries) expect(uploadsAt(registry)).toBe(2);
    expect(toldBlobs(stderr, "compressed")).toHaveLength(1);
    expect(toldEvents(stderr).map(({ type }) => type)).not.toContain("notice");
  });

  test("get what comes through standard input, which is read once: blobs go up once to each registry", async () => {
    await using setup = await setUp({}, {});
    const [first, second] = setup.hosts;
    const targets = [
      `${first}/my/app:v1`,
      `${first}/my/app:v2`,
      `${first}/other/app:v1`,
      `${second}/my/app:v1`,
    ];
    const { archive } = dockerArchive([LAYER], ["my/app:v1"]);
    const { code, stdout, stderr } = await runCli(["-", ...targets.flatMap((target) => ["-t", target])], {
      cwd: setup.folder,
      env: TELLS_EVENTS,
      input: new Uint8Array(archive),
    });
    expect(code, stderr).toBe(0);
    expect(new Set(stdout.match(/sha256:\w+/g)).size).toBe(1);
    expect(stdout.trim().split("\n")).toHaveLength(targets.length);
    expect(toldBlobs(stderr, "compressed")).toHaveLength(1);
    const [at, other] = setup.registries;
    expect([uploadsAt(at), mountsAt(at), uploadsAt(other)]).toEqual([2, 2, 2]);
    const manifest = await other?.pullManifest("my/app", "v1");
    expect(await at?.pullManifest("other/app", "v1")).toBe(manifest as string);
  });

  test("share neither user, password nor headers: those reach the first registry alone, whose password is read once", async () => {
    const saved = { username: "saved", password: "elsewhere" };
    await using setup = await setUp({ credentials: ME }, { credentials: saved }, {});
    const auths = Object.fromEntries(
      setup.hosts.slice(0, 2).map((host) => [host, { auth: btoa("saved:elsewhere") }]),
    );
    await Bun.write(join(setup.folder, "docker/config.json"), JSON.stringify({ auths }));
    const [first, second, third] = setup.hosts;
    const targets = [
      `${first}/my/app:v1`,
      `${second}/my/app:v1`,
      `${third}/my/app:v1`,
      `${first}/your/app:v1`,
    ];
    const { code, stderr } = await setup.run(targets, {
      env: {
        USERNAME_REGISTRY: ME.username,
        DOCKER_CONFIG: join(setup.folder, "docker"),
        CHUNKPUSH_HEADERS: "x-gate: open",
      },
      input: `${ME.password}\n`,
    });
    expect(code, stderr).toBe(0);
    const gates = setup.registries.map(({ seen }) => new Set(seen.map((headers) => headers.get("x-gate"))));
    expect(gates).toEqual([new Set(["open"]), new Set([null]), new Set([null])]);
    const sent = setup.registries.map(
      ({ seen }) => new Set(seen.map((headers) => headers.get("authorization"))),
    );
    expect(sent[0]).toContain(`Basic ${btoa("me:hush-Xq7")}`);
    expect(sent[1]).toEqual(new Set([basic("saved", "elsewhere")]));
    expect(sent[2]).toEqual(new Set([null]));
  });

  test("share no settings that are meant for one registry, or make one less safe", async () => {
    await using folder = await temporaryFolder();
    const forOne = {
      headers: { "x-gate": "open" },
      clientCertificate: { certFile: "cert.pem", keyFile: undefined },
      insecure: true,
      skipVerify: true,
      cacheFrom: [{ repository: "my/base", tag: "main" }],
    };
    const target = [
      "first.example/a:v1",
      "second.example/a:v1",
      "first.example/b:v1",
      "first.example:5000/a:v1",
    ];
    await using job = await openJob({
      source: "x",
      target,
      cacheDirectory: folder.path,
      ...forOne,
    });
    const jobs = await Promise.all(job.options.targets.map((each) => job.at(each, undefined)));
    const forOther = {
      headers: {},
      clientCertificate: undefined,
      insecure: false,
      skipVerify: false,
      cacheFrom: [],
    };
    const seen = jobs.map(({ options }) => {
      const { headers, clientCertificate, insecure, skipVerify, cacheFrom } = options;
      return { headers, clientCertificate, insecure, skipVerify, cacheFrom };
    });
    expect(seen).toEqual([forOne, forOther, forOne, forOther]);
  });

  test("get nothing if one of the registries refuses the credentials", async () => {
    await using setup = await setUp({}, { credentials: ME });
    const { code, stdout } = await setup.run(setup.hosts.map((host) => `${host}/my/app:v1`));
    expect([code, stdout]).toEqual([1, ""]);
    for (const registry of setup.registries) expect(uploadsAt(registry)).toBe(0);
  });

  test("get one image: names that mean different ones are ambiguous", async () => {
    await using setup = await setUp({});
    const images = ["v1", "v2"].map((tag) => {
      const config = JSON.stringify({ os: "linux", rootfs: { diff_ids: [] }, tag });
      return { config, Config: `${digestOf(config).slice(7)}.json`, RepoTags: [`my/app:${tag}`], Layers: [] };
    });
    const archive = tarBytes([
      ...images.map(({ config, Config }) => ({ path: Config, body: config })),
      { path: "manifest.json", body: JSON.stringify(images) },
    ]);
    await Bun.write(join(setup.folder, "output.tar"), archive);
    const { code, stderr } = await setup.run(["v1", "v2"].map((tag) => `${setup.hosts[0]}/my/app:${tag}`));
    expect(code).toBe(1);
    expect(stderr).toContain("--image my/app:v2");
    expect(setup.registries[0]?.recorded("put-manifest")).toEqual([]);
  });

  test("in the library return what was pushed to each, and a login that is a value is for the first registry alone", async () => {
    await using setup = await setUp({ credentials: ME }, {});
    const [first, second] = setup.hosts.map((host) => `${host}/my/app:v1`) as [string, string];
    const options = {
      source: join(setup.folder, "output.tar"),
      login: { credentials: ME },
      cacheDirectory: join(setup.folder, ".cache"),
    };
    const pushed = await push({ ...options, target: [first, second] });
    expect(pushed).toMatchObject({
      reference: first,
      others: [{ reference: second, digest: pushed.digest }],
    });
    expect(pushed.sentBytes).toBe(pushed.others?.[0]?.sentBytes ?? 0);
    expect(setup.registries[1]?.requests.some(({ hadAuthorization }) => hadAuthorization)).toBe(false);
    expect((await rejection(push({ ...options, target: [] }))).code).toBe("USAGE");
    expect((await push({ ...options, target: first })).others).toBeUndefined();
  });
});
