/** What an engine pushes of its own may be a part of what it has. */
import { expect, test } from "bun:test";
import { chmod } from "node:fs/promises";
import { join } from "node:path";
import { type PushEvent, push } from "../../index.ts";
import { MEDIA_TYPE } from "../../src/oci/descriptor.ts";
import { digestOf } from "../../src/oci/digest.ts";
import { describeNotice } from "../../src/report/notices.ts";
import { manifestOf } from "../support/image-fixture.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";
import { startTestRegistry } from "../support/test-registry.ts";

/** Stands for a `docker` command whose engine has an index, and pushes the one manifest that is there. */
const ENGINE = (id: string, program: string) => `#!/bin/sh
case "$*" in
"image inspect"*) echo '[{"Id":"${id}","RepoTags":["my/app:v1"],"Descriptor":{},"Os":"linux","Architecture":"amd64","RootFS":{"Layers":[]}}]' ;;
"context inspect"*) echo unix:///var/run/docker.sock ;;
"push"*) exec '${process.execPath}' '${program}' "$2" ;;
"tag"* | "image rm"* | "image ls"*) ;;
*) exit 1 ;;
esac
`;

const ENGINES_PUSH = (manifest: string, digest: string) => `
  const [, host, repository, tag] = /^([^/]+)\\/(.+):([^:]+)$/.exec(process.argv[2]);
  const url = "http://" + host + "/v2/" + repository + "/";
  const config = ${JSON.stringify("{}")};
  const started = await fetch(url + "blobs/uploads/", { method: "POST" });
  const place = new URL(started.headers.get("location"), url);
  place.searchParams.set("digest", ${JSON.stringify(digestOf("{}"))});
  await fetch(place, { method: "PUT", body: config });
  const body = ${JSON.stringify(manifest)};
  const put = await fetch(url + "manifests/" + tag, { method: "PUT", body, headers: { "content-type": "${MEDIA_TYPE.manifest}" } });
  if (!put.ok) process.exit(1);
  console.log(tag + ": digest: ${digest} size: " + body.length);
`;

test("A push reports it if the engine pushes only a part of an index under the tag", async () => {
  await using folder = await temporaryFolder();
  await using registry = await startTestRegistry();
  const { root } = manifestOf("{}", []);
  const index = digestOf("the whole index");
  const [bin, program] = [join(folder.path, "bin"), join(folder.path, "push.ts")];
  await Bun.write(program, ENGINES_PUSH(Buffer.from(root.bytes).toString(), root.digest));
  await Bun.write(join(bin, "docker"), ENGINE(index, program));
  await chmod(join(bin, "docker"), 0o755);
  const events: PushEvent[] = [];
  const { digest } = await push({
    retryDelayMs: 10,
    source: "my/app:v1",
    target: `${registry.host}/my/app:v1`,
    cacheDirectory: join(folder.path, "cache"),
    engineEnvironment: { PATH: `${bin}:${process.env["PATH"]}` },
    report: (event) => events.push(event),
  });
  expect(digest as string).toBe(root.digest);
  expect(events.filter((event) => event.type === "notice" && event.code === "ENGINE_PUSHES")).toHaveLength(1);
  const reduced = { code: "INDEX_REDUCED", platform: "linux/amd64", platforms: [], attestations: 0 } as const;
  expect(events).toContainEqual({ type: "notice", ...reduced });
  expect(describeNotice({ type: "notice", ...reduced })).not.toContain(": .");
});
