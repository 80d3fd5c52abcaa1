/** What real engines answer is in test/e2e. Here their commands are lines of shell that answer as the real ones do. */
import { describe, expect, test } from "bun:test";
import { chmod, mkdir } from "node:fs/promises";
import { join } from "node:path";
import type { ErrorCode } from "../../src/errors.ts";
import { findEngineImage, nearestNames } from "../../src/source/engine/find-image.ts";
import { assertPlatforms } from "../../src/source/engine/inspect.ts";
import { type SaveOptions, saveEngineImage } from "../../src/source/engine/save.ts";
import { rejection } from "../support/rejection.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";

type Runtime = "docker" | "podman" | "nerdctl";

const CONFIG = "c".repeat(64);
const INDEX = `sha256:${"1".repeat(64)}`;
const LAYER = `sha256:${"0".repeat(64)}`;

const image = {
  Id: `sha256:${CONFIG}`,
  RepoTags: ["my/app:v1"],
  Created: "2024-05-06T07:08:09Z",
  Size: 1_000_000,
  Os: "linux",
  Architecture: "amd64",
  RootFS: { Layers: [LAYER] },
};
const podmanImage = {
  ...image,
  Id: CONFIG,
  RepoTags: ["localhost/my/app:v1"],
  GraphDriver: { Name: "overlay" },
};
const nerdctlImage = { ...image, RepoDigests: [`my/app@${INDEX}`] };

const WHOLE: SaveOptions = { platforms: [], allPlatforms: false };

/** The lines of a command that has one image, `my/app:v1`. */
const has = (inspected: object, save = "printf saved") => `
case "$1 $2" in
  "image inspect") echo '${JSON.stringify([inspected])}' ;;
  "image save") ${save} ;;
  "manifest exists") exit 125 ;;
esac`;

/** The lines of a command that has other images. */
const lacks = (answer: string, names: readonly string[] = []) => `
if [ "$2" = ls ]; then printf '${names.map((name) => `${name}\\n`).join("")}<none>:<none>\\n'; exit 0; fi
echo '${answer}' >&2
exit 1`;

const LACKS = {
  docker: "Error response from daemon: No such image: my/app:v1",
  podman: "Error: my/app:v1: image not known",
  nerdctl: 'time="2026-11-27T10:00:00Z" level=fatal msg="1 errors:\\nno such image: my/app:v1"',
};

const DOWN = {
  docker: "Cannot connect to the Docker daemon at unix:///var/run/docker.sock. Is the docker daemon running?",
  podman: "Cannot connect to Podman. Please verify your connection to the Linux system",
  nerdctl:
    'time="2026-11-27T10:00:00Z" level=fatal msg="cannot access containerd socket \\"/run/containerd/containerd.sock\\": no such file or directory"',
};

/** A folder with these commands alone, each of which writes down how it is called. */
async function commands(lines: Partial<Record<Runtime, string>>) {
  const folder = await temporaryFolder();
  const bin = join(folder.path, "bin");
  await mkdir(bin);
  for (const [name, body] of Object.entries(lines)) {
    const command = join(bin, name);
    await Bun.write(
      command,
      `#!/bin/sh\necho "${name} $*" >> '${folder.path}/asked'\ncd '${folder.path}'\n${body}\n`,
    );
    await chmod(command, 0o755);
  }
  const { signal } = new AbortController();
  return {
    path: folder.path,
    find: (runtime?: Runtime, environment: Record<string, string> = {}) =>
      findEngineImage("my/app:v1", {
        targets: ["my/app:v1"],
        environment: { ...environment, PATH: bin },
        signal,
        runtime,
      }),
    suggest: async (name: string, targets: string[]) =>
      (await rejection(findEngineImage(name, { targets, environment: { PATH: bin }, signal }))).hint,
    asked: async () => (await Bun.file(join(folder.path, "asked")).text()).split("\n").filter(Boolean),
    [Symbol.asyncDispose]: () => folder[Symbol.asyncDispose](),
  };
}

async function textOf(pieces: AsyncIterable<Uint8Array>): Promise<string> {
  let text = "";
  for await (const piece of pieces) text += Buffer.from(piece).toString();
  return text;
}

describe("the engine that has an image", () => {
  const all = { docker: has(image), podman: has(podmanImage), nerdctl: has(nerdctlImage) };
  const none = { docker: lacks(LACKS.docker), podman: lacks(LACKS.podman), nerdctl: lacks(LACKS.nerdctl) };
  const down = { docker: lacks(DOWN.docker), podman: lacks(DOWN.podman), nerdctl: lacks(DOWN.nerdctl) };

  test.each<[string, Partial<Record<Runtime, string>>, Runtime]>([
    ["docker, where all have it", all, "docker"],
    ["podman, where docker does not have it", { ...all, docker: none.docker }, "podman"],
    ["podman, where docker does not answer", { ...all, docker: down.docker }, "podman"],
    ["podman, where docker fails in another way", { ...all, docker: lacks("out of cheese") }, "podman"],
    ["podman, where there is no docker command", { podman: all.podman }, "podman"],
    ["nerdctl, where podman does not have it", { podman: none.podman, nerdctl: all.nerdctl }, "nerdctl"],
    ["nerdctl, where the others do not answer", { ...down, nerdctl: all.nerdctl }, "nerdctl"],
    ["docker, where the others do not answer", { ...down, docker: all.docker }, "docker"],
  ])("is found by itself: %s", async (_, lines, expected) => {
    await using place = await commands(lines);
    const { engine } = await place.find();
    expect([engine.runtime, engine.command]).toEqual([expected, expected]);
  });

  test("is the one that is named alone, and no other is asked", async () => {
    await using place = await commands(all);
    expect((await place.find("nerdctl")).engine.runtime).toBe("nerdctl");
    expect(await place.asked()).toEqual(["nerdctl image inspect --mode=dockercompat -- my/app:v1"]);
  });

  test("is not waited for once docker has answered, and its command is ended", async () => {
    await using place = await commands({
      docker: `read -r line < ready\n${has(image)}`,
      podman: "exec 9> life\necho started > ready\nexec /bin/sleep 600",
    });
    for (const pipe of ["ready", "life"]) Bun.spawnSync(["mkfifo", join(place.path, pipe)]);
    // Ends when the last process that holds the pipe has ended.
    const life = Bun.file(join(place.path, "life")).text();
    expect((await place.find()).engine.runtime).toBe("docker");
    expect(await life).toBe("");
  });

  test("gets no secret of chunkpush, and all other variables", async () => {
    const tell =
      'echo "$REGISTRY_JWT_TOKEN$CHUNKPUSH_HEADERS$CHUNKPUSH_CREDENTIAL_COMMAND $CONTAINER_HOST" >> told';
    await using place = await commands({
      docker: `${tell}\n${lacks(LACKS.docker)}`,
      podman: `${tell}\n${lacks(LACKS.podman)}`,
      nerdctl: `${tell}\n${has(nerdctlImage)}`,
    });
    const found = await place.find(undefined, {
      REGISTRY_JWT_TOKEN: "s3cret",
      CHUNKPUSH_HEADERS: "s3cret",
      CHUNKPUSH_CREDENTIAL_COMMAND: "s3cret",
      CONTAINER_HOST: "here",
    });
    await textOf(saveEngineImage(found.image, "my/app:v1", found.engine, WHOLE));
    expect(await Bun.file(join(place.path, "told")).text()).toBe(" here\n".repeat(4));
  });

  test.each<[string, Partial<Record<Runtime, string>>, Runtime | undefined, ErrorCode, string[]]>([
    [
      "no command is there",
      {},
      undefined,
      "ENGINE_MISSING",
      ["docker, podman and nerdctl are not installed"],
    ],
    [
      "the named command is not there",
      all,
      "podman",
      "ENGINE_MISSING",
      ["podman is not installed", "podman save"],
    ],
    [
      "none answers",
      down,
      undefined,
      "ENGINE_UNREACHABLE",
      ["the Docker engine does not", "Podman does not"],
    ],
    ["Podman does not answer", down, "podman", "ENGINE_UNREACHABLE", ["Podman does not", "CONTAINER_HOST"]],
    [
      "containerd does not answer",
      down,
      "nerdctl",
      "ENGINE_UNREACHABLE",
      ['cannot access containerd socket "/run/containerd/containerd.sock"', "CONTAINERD_ADDRESS"],
    ],
    [
      "one fails, and no other is there",
      { podman: lacks("out of cheese") },
      undefined,
      "ENGINE_FAILED",
      ["podman said: out of cheese"],
    ],
    [
      "none has the image",
      none,
      undefined,
      "IMAGE_NOT_FOUND",
      ["Neither the Docker engine nor Podman nor containerd has"],
    ],
    ["one has not the image", none, "podman", "IMAGE_NOT_FOUND", ["Podman has no image"]],
    [
      "one does not have the image, and the others fail",
      { ...down, docker: lacks("out of cheese"), podman: none.podman },
      undefined,
      "IMAGE_NOT_FOUND",
      ["Podman has no image", "docker said: out of cheese", "containerd does not answer"],
    ],
  ])("is not found where %s", async (what, lines, runtime, code, words) => {
    const { podman: _, ...others } = lines;
    await using place = await commands(what === "the named command is not there" ? others : lines);
    const error = await rejection(place.find(runtime));
    expect(error.code).toBe(code);
    const said = [error.message, error.hint, ...error.details].join("\n");
    for (const word of words) expect(said).toContain(word);
    expect(said).not.toContain("level=");
  });

  test("is named beside each near name, and in the command that gives the image a name", async () => {
    await using place = await commands({
      docker: lacks(LACKS.docker, ["my/app:v2", "other:v1"]),
      podman: lacks(LACKS.podman, ["localhost/my/app:v2", "my/app:v3"]),
      nerdctl: lacks(DOWN.nerdctl),
    });
    const error = await rejection(place.find());
    expect(error.message).toContain("my/app:v2 (docker), my/app:v3 (podman), localhost/my/app:v2 (podman).");
    expect(error.hint).toContain("docker tag my/app:v2 my/app:v1");
    await using podman = await commands({ podman: lacks(LACKS.podman, ["localhost/my/app:v2"]) });
    expect((await rejection(podman.find())).hint).toContain("podman tag localhost/my/app:v2 my/app:v1");
  });

  const greeting = "Emulate Docker CLI using podman. Create /etc/containers/nodocker to quiet msg.";
  test.each([
    ["with its greeting", `echo '${greeting}' >&2\n${has(image)}`],
    ["by its ID, where the greeting is turned off", has(podmanImage)],
  ])("is Podman where Podman stands behind docker, recognized %s", async (_, lines) => {
    await using place = await commands({ docker: lines });
    const { engine, image } = await place.find();
    expect([engine.runtime, engine.command]).toEqual(["podman", "docker"]);
    expect(await textOf(saveEngineImage(image, "my/app:v1", engine, WHOLE))).toBe("saved");
    expect((await place.asked()).at(-1)).toBe(`docker image save sha256:${CONFIG}`);
  });

  test("is called Podman where Podman behind docker does not have the image", async () => {
    await using place = await commands({ docker: `echo '${greeting}' >&2\n${lacks(LACKS.podman)}` });
    const { message } = await rejection(place.find());
    expect(message).toContain("Podman has no image");
    expect(message).not.toContain("Emulate");
  });
});

describe("a list of images in Podman", () => {
  const expectList = async (lines: string) => {
    await using place = await commands({ docker: lacks(LACKS.docker), podman: lines });
    const error = await rejection(place.find());
    expect(error.code).toBe("SOURCE_AMBIGUOUS");
    expect(error.hint).toContain("podman manifest push --all my/app:v1 oci-archive:output.tar");
    return error;
  };

  test("is refused, because a save brings one image of it, whose ID is named", async () => {
    const { hint } = await expectList(has(podmanImage).replace("exit 125", "exit 0"));
    expect(hint).toContain(CONFIG.slice(0, 12));
  });

  test.each([
    'Error: inspecting object: no image found in image index for architecture amd64, variant "", OS linux: image not known',
    'Error: no image found in manifest list for architecture "amd64", variant "", OS "linux": image not known',
  ])("is refused where it has nothing for this platform, too: %#", async (said) => {
    await expectList(lacks(said));
  });
});

describe("an image of an engine", () => {
  test("of nerdctl has the digest that its name leads to, by which it is read, and is saved by name", async () => {
    await using place = await commands({ nerdctl: has(nerdctlImage) });
    const { image, engine } = await place.find();
    expect(image).toMatchObject({
      id: INDEX,
      isContainerd: true,
      names: ["my/app:v1"],
      sizeBytes: undefined,
    });
    expect(await textOf(saveEngineImage(image, "my/app:v1", engine, WHOLE))).toBe("saved");
    expect((await place.asked()).at(-1)).toBe("nerdctl image save -- my/app:v1");
  });

  test("of nerdctl is saved by its name where it was found by its ID", async () => {
    await using place = await commands({ nerdctl: has(nerdctlImage) });
    const { image, engine } = await place.find();
    await textOf(saveEngineImage(image, INDEX.slice(7, 19), engine, WHOLE));
    expect((await place.asked()).at(-1)).toBe("nerdctl image save -- my/app:v1");
  });

  test.each<[Runtime, object, Partial<SaveOptions>, string]>([
    ["docker", image, {}, `docker image save sha256:${CONFIG}`],
    ["docker", image, { platforms: ["linux/arm64"] }, `docker image save sha256:${CONFIG}`],
    ["docker", image, { allPlatforms: true }, `docker image save sha256:${CONFIG}`],
    ["podman", podmanImage, { platforms: ["linux/amd64"] }, `podman image save sha256:${CONFIG}`],
    ["nerdctl", nerdctlImage, { allPlatforms: true }, "nerdctl image save --all-platforms -- my/app:v1"],
    [
      "nerdctl",
      nerdctlImage,
      { platforms: ["linux/arm64", "linux/amd64"] },
      "nerdctl image save --platform linux/arm64 --platform linux/amd64 -- my/app:v1",
    ],
  ])("of %s is saved with all that is wanted of it: %#", async (runtime, inspected, options, expected) => {
    await using place = await commands({ [runtime]: has(inspected) });
    const { image, engine } = await place.find();
    await textOf(saveEngineImage(image, "my/app:v1", engine, { ...WHOLE, ...options }));
    expect((await place.asked()).at(-1)).toBe(expected);
  });

  test.each<[Runtime, object]>([
    ["docker", image],
    ["podman", podmanImage],
  ])("of %s that is for another platform is refused before it is saved", async (runtime, inspected) => {
    await using place = await commands({ [runtime]: has(inspected) });
    const { image, engine } = await place.find();
    assertPlatforms(image, "my/app:v1", engine, ["linux/amd64", "amd64"]);
    const check = async () => assertPlatforms(image, "my/app:v1", engine, ["linux/amd64", "linux/arm64"]);
    const error = await rejection(check());
    expect(error.code).toBe("IMAGE_NOT_FOUND");
    expect(error.hint).toContain(`${runtime} pull --platform linux/arm64 my/app:v1`);
  });

  test("that is not there is not guessed: the hint is a command that pushes the nearest", async () => {
    await using place = await commands({ podman: lacks(LACKS.podman, ["localhost/my/app:v1", "other:v1"]) });
    const [one, two] = ["registry.example.com/my/app:v1", "ghcr.io/my/app:v1"];
    const command = "chunkpush localhost/my/app:v1";
    const tag = `, or give it that name: "podman tag localhost/my/app:v1 ${one}"`;
    expect(await place.suggest("my/app:v2", [one])).toBe(`Push the nearest: "${command} ${one}".`);
    expect(await place.suggest(one, [one])).toBe(`Push the nearest: "${command} ${one}"${tag}.`);
    expect(await place.suggest("my/app:v2", [one, two])).toBe(
      `Push the nearest: "${command} -t ${one} -t ${two}".`,
    );
  });

  test("that names a registry is pushed from there by the hint, and without images no command is made up", async () => {
    await using place = await commands({ podman: lacks(LACKS.podman) });
    const target = "registry.example.com/my/app:v1";
    const first = "Build or pull the image first.";
    expect(await place.suggest("my/app:v1", [target])).toBe(first);
    expect(await place.suggest("localhost/my/app:v1", [target])).toBe(first);
    expect(await place.suggest(target, [target])).toBe(first);
    expect(await place.suggest("ghcr.io/x/y:v1", [target])).toBe(
      `Push it from its registry: "chunkpush docker://ghcr.io/x/y:v1 ${target}". Or build or pull the image first.`,
    );
  });

  test("in a store of containerd is not refused for a platform before it is saved", async () => {
    await using place = await commands({ nerdctl: has(nerdctlImage) });
    const { image, engine } = await place.find();
    assertPlatforms(image, "my/app:v1", engine, ["linux/arm64"]);
  });

  test.each<[Runtime, object]>([
    ["podman", podmanImage],
    ["nerdctl", nerdctlImage],
  ])(
    "that %s fails to save is reported with the command's output, without its warnings",
    async (runtime, inspected) => {
      const save = `echo 'time="x" level=fatal msg="no \\"space\\" left"' >&2
      echo 'time="x" level=warning msg="Using cgroups-v1"' >&2; exit 1`;
      await using place = await commands({ [runtime]: has(inspected, save) });
      const { image, engine } = await place.find();
      const error = await rejection(textOf(saveEngineImage(image, "my/app:v1", engine, WHOLE)));
      expect([error.code, error.message]).toEqual([
        "ENGINE_FAILED",
        `Cannot save "my/app:v1": ${runtime} said: no "space" left`,
      ]);
    },
  );
});

describe("the nearest names", () => {
  const names = [
    "my/app:v1",
    "my/app:v2",
    "other:latest",
    "localhost:5000/my/app:v1",
    "postgres:16",
    "redis:7",
  ];

  test.each([
    ["my/ap:v1", "my/app:v1"],
    ["my/app:v3", "my/app:v1"],
    ["localhost:8787/my/app:v1", "localhost:5000/my/app:v1"],
    ["postgre:16", "postgres:16"],
    ["registry.example.com/redis:7", "redis:7"],
  ])("to %s begin with %s", (wanted, nearest) => {
    expect(nearestNames(wanted, names)[0]).toBe(nearest);
  });

  test("are three at most, all of them names that there are, and the list is left as it was", () => {
    const frozen = Object.freeze([...names]);
    const nearest = nearestNames("my/app:v1", frozen);
    expect(nearest).toHaveLength(3);
    for (const name of nearest) expect(names).toContain(name);
    expect(nearestNames("x", [])).toEqual([]);
    expect(nearestNames("x", ["y"])).toEqual(["y"]);
  });
});
