/** Of an archive that holds the parts of two images, skopeo and we read the same one, or at least one of us refuses it. */
import { expect, test } from "bun:test";
import { join } from "node:path";
import { openArchiveFiles } from "../../src/source/files/archive.ts";
import { readDockerArchive } from "../../src/source/files/docker-archive.ts";
import { FUZZ_TIMEOUT, fuzz, HAS_MANY_CASES, type Random } from "../support/fuzz.ts";
import { fixtureImage } from "../support/image-fixture.ts";
import { podmanFiles } from "../support/image-forms.ts";
import { describeWith } from "../support/needs.ts";
import { rejection } from "../support/rejection.ts";
import { type FixtureMember, gnuLongMember, paxMember, tarBytes } from "../support/tar-fixture.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";

const IMAGES = [podmanFiles(fixtureImage(1), ["a:b"]), podmanFiles(fixtureImage(2), ["a:b"])];

/** The members of both images, with two ways to their manifests. */
function twoImages(random: Random): FixtureMember[] {
  const manifests = IMAGES.map((files) => String(files["manifest.json"]));
  const others = IMAGES.flatMap((files) =>
    Object.entries(files).filter(
      ([path, content]) => path !== "manifest.json" && !String(content).startsWith("→"),
    ),
  ).map(([path, body]): FixtureMember => ({ path, body }));
  const plain = { path: "manifest.json", body: manifests[0] ?? "" };
  const ways = [
    random.below(2) === 0 ? [plain] : wayTo(plain.body, random),
    random.below(3) === 0 ? [] : wayTo(manifests[1] ?? "", random),
  ];
  const all = [...ways, ...others.map((member) => [member])];
  return (random.below(2) === 0 ? all : all.toReversed()).flat();
}

function wayTo(manifest: string, random: Random): FixtureMember[] {
  const inside = tarBytes([{ path: "manifest.json", body: manifest }]).subarray(0, -1024);
  const ways: readonly FixtureMember[][] = [
    [{ path: "manifest.json", body: manifest }],
    [{ path: "./manifest.json", body: manifest }],
    [{ path: "x/../manifest.json", body: manifest }],
    [{ path: "manifest.json/", body: manifest }],
    [
      { path: "x", body: manifest },
      { path: "manifest.json", flag: "2", linkpath: "x" },
    ],
    [
      { path: "x", body: manifest },
      { path: "manifest.json", flag: "1", linkpath: "x" },
    ],
    [
      { path: "x", flag: "2", linkpath: "." },
      { path: "x/manifest.json", body: manifest },
    ],
    [{ path: "d/", body: inside }],
    [{ path: "l", flag: "2", linkpath: "x", body: inside }],
    [paxMember({ path: "manifest.json" }), { path: "x", body: manifest }],
    [paxMember({ path: "manifest.json" }, "g"), { path: "x", body: manifest }],
    [paxMember({ size: "0" }), { path: "x", body: inside }],
    [
      paxMember({
        "GNU.sparse.major": "0",
        "GNU.sparse.minor": "1",
        "GNU.sparse.name": "manifest.json",
        "GNU.sparse.numblocks": "1",
        "GNU.sparse.map": `0,${manifest.length}`,
        "GNU.sparse.size": `${manifest.length}`,
      }),
      { path: "x", body: manifest },
    ],
    [gnuLongMember("L", "manifest.json"), { path: "x", body: manifest }],
    [paxMember({ path: "manifest.json" }), paxMember({ mtime: "1" }), { path: "x", body: manifest }],
    [gnuLongMember("L", "manifest.json"), paxMember({ path: "x" }), { path: "y", body: manifest }],
  ];
  return random.pick(ways);
}

describeWith("skopeo", "skopeo", () => {
  test(
    "reads the image that we read",
    async () => {
      await using folder = await temporaryFolder();
      const path = join(folder.path, "x.tar");
      let both = 0;
      await fuzz(40, async (random) => {
        await Bun.write(path, tarBytes(twoImages(random)));
        const command = ["skopeo", "inspect", "--config", "--raw", `docker-archive:${path}`];
        const skopeo = Bun.spawnSync(command, { stderr: "ignore" });
        const ours = await readConfig(path);
        if (skopeo.exitCode !== 0 || ours === undefined) return;
        both++;
        expect(ours).toBe(skopeo.stdout.toString());
      });
      if (HAS_MANY_CASES) expect(both).toBeGreaterThan(0);
    },
    FUZZ_TIMEOUT,
  );
});

async function readConfig(path: string): Promise<string | undefined> {
  const read = async () =>
    (await (await readDockerArchive(await openArchiveFiles(path, "archive")))?.[0]?.read())?.config;
  try {
    return await (await read())?.content.text();
  } catch (error) {
    await rejection(Promise.reject(error));
    return undefined;
  }
}
