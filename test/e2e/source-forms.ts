/** Every form in which programs write images, a row each. Each is written by the program itself. */
import { runWell } from "../support/command.ts";
import type { DockerEngine } from "../support/docker-engine.ts";
import type { PodmanStore } from "../support/podman-store.ts";
import {
  BOTH_PLATFORMS,
  IMAGE,
  PLATFORMS_IMAGE,
  type Programs,
  PULLED_IMAGE,
  SECOND_IMAGE,
} from "./source-programs.ts";

export type SourceForm = {
  /** As the table has it: `Docker, containerd store`. */
  readonly program: string;
  /** How it is made, in short: `docker save`, with provenance. */
  readonly form: string;
  readonly kind: "archive" | "folder" | "engine";
  /** Whether registries take its layers as they are, so that nothing of it may change. */
  readonly isReady: boolean;
  /** Writes it, where no engine has it. */
  readonly make: (programs: Programs, path: string) => Promise<unknown>;
  /** The engine that has it, and its name there. */
  readonly inEngine?: { readonly engine: EngineName; readonly name: string };
  /** Brings the image to a registry as the program itself does. */
  readonly bring: (programs: Programs, path: string, reference: string) => Promise<unknown>;
  /** Flags that say which image is meant, where there are several. */
  readonly choose: readonly string[];
  /** The target's repository and tag, where its name says which is meant. */
  readonly target?: string;
};

type EngineName = "oldDocker" | "classicDocker" | "containerdDocker" | "oldPodman" | "podman";

/** The programs whose names in the table stand for a version. */
export const VERSIONS: Readonly<Record<string, (programs: Programs) => Promise<string>>> = {
  "Docker of Debian 12": ({ oldDocker }) => dockerVersion(oldDocker),
  "Docker, classic store": ({ classicDocker }) => dockerVersion(classicDocker),
  "Docker, containerd store": ({ containerdDocker }) => dockerVersion(containerdDocker),
  Buildx: async ({ lab }) => /\d+\.\d+/.exec(await lab("docker", "buildx", "version"))?.[0] ?? "",
  "Podman of Debian 12": ({ oldPodman }) => podmanVersion(oldPodman),
  Podman: ({ podman }) => podmanVersion(podman),
  Buildah: async ({ lab }) => /\d+\.\d+/.exec(await lab("buildah", "--version"))?.[0] ?? "",
  skopeo: async ({ lab }) => /\d+\.\d+/.exec(await lab("skopeo", "--version"))?.[0] ?? "",
  umoci: async ({ lab }) => /\d+\.\d+/.exec(await lab("umoci", "--version"))?.[0] ?? "",
};

async function dockerVersion(engine: DockerEngine): Promise<string> {
  return /\d+\.\d+/.exec(await engine.docker("version", "--format", "{{.Server.Version}}"))?.[0] ?? "";
}

async function podmanVersion(store: PodmanStore): Promise<string> {
  return /\d+\.\d+/.exec(await store.podman("version", "--format", "{{.Client.Version}}"))?.[0] ?? "";
}

/** `skopeo copy --all --preserve-digests`, which sends what the source holds. */
const skopeo = (transport: string, suffix = "") => {
  return ({ lab }: Programs, path: string, reference: string) =>
    lab(
      ...["skopeo", "copy", "--quiet", "--insecure-policy", "--all", "--preserve-digests"],
      ...["--dest-tls-verify=false", `${transport}:${path}${suffix}`, `docker://${reference}`],
    );
};

/** The same, of one platform. */
const skopeoPlatform = (architecture: string) => {
  return ({ lab }: Programs, path: string, reference: string) =>
    lab(
      ...[
        "skopeo",
        "--override-arch",
        architecture,
        "copy",
        "--quiet",
        "--insecure-policy",
        "--preserve-digests",
      ],
      ...["--dest-tls-verify=false", `oci-archive:${path}`, `docker://${reference}`],
    );
};

type PodmanName = "oldPodman" | "podman";
type DockerName = Exclude<EngineName, PodmanName>;

const dockerPush = (engine: DockerName, name: string) => {
  return async (programs: Programs, _: string, reference: string) => {
    await programs[engine].docker("tag", name, reference);
    await programs[engine].docker("push", "--quiet", reference);
  };
};

const podmanPush = (store: PodmanName, name: string) => {
  return (programs: Programs, _: string, reference: string) =>
    programs[store].podman("push", "--quiet", "--tls-verify=false", name, `docker://${reference}`);
};

const dockerSave = (engine: DockerName, ...names: string[]) => {
  return (programs: Programs, path: string) => programs[engine].docker("save", "--output", path, ...names);
};

const podmanSave = (store: PodmanName, format: string, ...names: string[]) => {
  return (programs: Programs, path: string) =>
    programs[store].podman("save", "--quiet", "--format", format, "--output", path, ...names);
};

/** Copies an image of the containerd store, whose layers are compressed, with all that there is of it. */
const skopeoCopy = (name: string, to: string, suffix = "") => {
  return async (programs: Programs, path: string) => {
    const from = `${path}.from`;
    await dockerSave("containerdDocker", name)(programs, from);
    const command = ["skopeo", "copy", "--quiet", "--insecure-policy", "--all"];
    await programs.lab(...command, `oci-archive:${from}`, `${to}:${path}${suffix}`);
  };
};

const buildahPush = (to: string, suffix = "") => {
  return ({ lab, podman }: Programs, path: string) => {
    const storage = podman.command.slice(podman.command.indexOf("podman") + 1);
    const own = storage.filter((word, i) => word !== "--tmpdir" && storage[i - 1] !== "--tmpdir");
    return lab("buildah", ...own, "push", "--quiet", IMAGE, `${to}:${path}${suffix}`);
  };
};

const buildx = (output: string, ...flags: string[]) => {
  return (programs: Programs, path: string) =>
    programs.buildx("--output", `${output},dest=${path}`, "--tag", IMAGE, ...flags);
};

const RECOMPRESSED = "force-compression=true,oci-mediatypes=true";

/** Forms with compressed layers, and with raw ones. */
const [archive, folder] = [form("archive", true), form("folder", true)];
const [rawArchive, rawFolder] = [form("archive", false), form("folder", false)];

export const SOURCE_FORMS: readonly SourceForm[] = [
  inDocker("Docker of Debian 12", "oldDocker", false),
  inDocker("Docker, classic store", "classicDocker", false),
  inDocker("Docker, containerd store", "containerdDocker", true),
  inDocker(
    "Docker, containerd store",
    "containerdDocker",
    true,
    PLATFORMS_IMAGE,
    "the engine's image of two platforms",
  ),
  inDocker(
    "Docker, containerd store",
    "containerdDocker",
    true,
    PULLED_IMAGE,
    "the engine's image, one platform of two",
  ),
  inPodman("Podman of Debian 12", "oldPodman"),
  inPodman("Podman", "podman"),
  rawArchive(
    "Docker of Debian 12",
    "`docker save`",
    dockerSave("oldDocker", IMAGE),
    dockerPush("oldDocker", IMAGE),
  ),
  rawArchive(
    "Docker, classic store",
    "`docker save`",
    dockerSave("classicDocker", IMAGE),
    dockerPush("classicDocker", IMAGE),
  ),
  archive(
    "Docker, containerd store",
    "`docker save`, with provenance",
    dockerSave("containerdDocker", IMAGE),
    dockerPush("containerdDocker", IMAGE),
  ),
  archive(
    "Docker, containerd store",
    "`docker save`, without provenance",
    dockerSave("containerdDocker", SECOND_IMAGE),
    dockerPush("containerdDocker", SECOND_IMAGE),
  ),
  archive(
    "Docker, containerd store",
    "`docker save` of two platforms",
    dockerSave("containerdDocker", PLATFORMS_IMAGE),
    dockerPush("containerdDocker", PLATFORMS_IMAGE),
  ),
  archive(
    "Docker, containerd store",
    "`docker save` of two images",
    dockerSave("containerdDocker", IMAGE, SECOND_IMAGE),
    dockerPush("containerdDocker", SECOND_IMAGE),
    { choose: ["--image", SECOND_IMAGE] },
  ),
  archive(
    "Docker, containerd store",
    "`docker save` of one platform of two",
    dockerSave("containerdDocker", PULLED_IMAGE),
    dockerPush("containerdDocker", PULLED_IMAGE),
  ),
  archive("Buildx", "`type=oci`", buildx("type=oci"), skopeo("oci-archive")),
  archive(
    "Buildx",
    "`type=oci`, two platforms, provenance",
    buildx("type=oci", ...BOTH_PLATFORMS, "--provenance=mode=max"),
    skopeo("oci-archive"),
  ),
  archive(
    "Buildx",
    "`type=oci`, one platform of two",
    buildx("type=oci", ...BOTH_PLATFORMS),
    skopeoPlatform("arm64"),
    {
      choose: ["--platform", "linux/arm64"],
    },
  ),
  archive(
    "Buildx",
    "`type=oci`, annotations",
    buildx(
      "type=oci",
      ...BOTH_PLATFORMS,
      "--annotation=manifest:org.example.m=1",
      "--annotation=index:org.example.i=2",
    ),
    skopeo("oci-archive"),
  ),
  archive(
    "Buildx",
    "`type=oci`, zstd",
    buildx(`type=oci,compression=zstd,${RECOMPRESSED}`),
    skopeo("oci-archive"),
  ),
  rawArchive(
    "Buildx",
    "`type=oci`, uncompressed",
    buildx(`type=oci,compression=uncompressed,${RECOMPRESSED}`),
    skopeo("oci-archive"),
  ),
  folder("Buildx", "`type=oci,tar=false`", buildx("type=oci,tar=false"), skopeo("oci")),
  archive("Buildx", "`type=docker`", buildx("type=docker"), skopeo("oci-archive")),
  ...(["oldPodman", "podman"] as const).flatMap((store) => podmanForms(store)),
  archive(
    "Podman",
    "`podman manifest push --all oci-archive:`",
    ({ podman }, path) =>
      podman.podman("manifest", "push", "--quiet", "--all", PLATFORMS_IMAGE, `oci-archive:${path}:v1`),
    skopeo("oci-archive"),
  ),
  archive("Buildah", "`buildah push oci-archive:`", buildahPush("oci-archive", ":v1"), skopeo("oci-archive")),
  folder("Buildah", "`buildah push oci:`", buildahPush("oci", ":v1"), skopeo("oci")),
  rawArchive(
    "Buildah",
    "`buildah push docker-archive:`",
    buildahPush("docker-archive", `:${IMAGE}`),
    podmanPush("podman", IMAGE),
  ),
  folder("Buildah", "`buildah push dir:`", buildahPush("dir"), skopeo("dir")),
  archive(
    "skopeo",
    "`skopeo copy --all oci-archive:`",
    skopeoCopy(PLATFORMS_IMAGE, "oci-archive", ":v1"),
    skopeo("oci-archive"),
  ),
  folder("skopeo", "`skopeo copy --all oci:`", skopeoCopy(PLATFORMS_IMAGE, "oci", ":v1"), skopeo("oci")),
  folder("skopeo", "`skopeo copy --all dir:`", skopeoCopy(PLATFORMS_IMAGE, "dir"), skopeo("dir")),
  folder("skopeo", "`skopeo copy dir:`", skopeoCopy(SECOND_IMAGE, "dir"), skopeo("dir")),
  rawArchive(
    "skopeo",
    "`skopeo copy docker-archive:`",
    skopeoCopy(SECOND_IMAGE, "docker-archive", `:${IMAGE}`),
    dockerPush("containerdDocker", SECOND_IMAGE),
  ),
  folder("umoci", "a layout with several tags", umociLayout, skopeo("oci", ":two"), {
    choose: ["--image", "two"],
  }),
];

function inDocker(
  program: string,
  engine: DockerName,
  isReady: boolean,
  name = IMAGE,
  form = "the engine's image",
): SourceForm {
  const own = { make: async () => {}, bring: dockerPush(engine, name) };
  return { program, form, kind: "engine", isReady, inEngine: { engine, name }, choose: [], ...own };
}

function inPodman(program: string, engine: PodmanName): SourceForm {
  const own = { make: async () => {}, bring: podmanPush(engine, IMAGE) };
  const flags = ["--runtime", "podman"];
  const inEngine = { engine, name: IMAGE };
  return {
    program,
    form: "the engine's image",
    kind: "engine",
    isReady: false,
    inEngine,
    choose: flags,
    ...own,
  };
}

function podmanForms(store: PodmanName): SourceForm[] {
  const program = store === "podman" ? "Podman" : "Podman of Debian 12";
  return [
    rawArchive(
      program,
      "`podman save`",
      podmanSave(store, "docker-archive", IMAGE),
      podmanPush(store, IMAGE),
    ),
    archive(
      program,
      "`podman save --format oci-archive`",
      podmanSave(store, "oci-archive", IMAGE),
      skopeo("oci-archive"),
    ),
    folder(program, "`podman save --format oci-dir`", podmanSave(store, "oci-dir", IMAGE), skopeo("oci")),
    rawFolder(
      program,
      "`podman save --format docker-dir`",
      podmanSave(store, "docker-dir", IMAGE),
      podmanPush(store, IMAGE),
    ),
    rawArchive(
      program,
      "`podman save --multi-image-archive`",
      (programs, path) =>
        programs[store].podman(
          "save",
          "--quiet",
          "--multi-image-archive",
          "--output",
          path,
          IMAGE,
          SECOND_IMAGE,
        ),
      podmanPush(store, SECOND_IMAGE),
      // One is chosen by its name, and one by the target's.
      store === "podman" ? { target: SECOND_IMAGE } : { choose: ["--image", `localhost/${SECOND_IMAGE}`] },
    ),
  ];
}

async function umociLayout({ lab, context }: Programs, path: string): Promise<void> {
  await lab("umoci", "init", "--layout", path);
  await lab("umoci", "new", "--image", `${path}:one`);
  await lab("umoci", "insert", "--image", `${path}:one`, `${context}/Dockerfile`, "/Dockerfile");
  await lab("umoci", "config", "--image", `${path}:one`, "--config.label=second=yes", "--tag", "two");
}

function form(kind: SourceForm["kind"], isReady: boolean) {
  return (
    program: string,
    title: string,
    make: SourceForm["make"],
    bring: SourceForm["bring"],
    { choose = [], ...rest }: Partial<Pick<SourceForm, "choose" | "target">> = {},
  ): SourceForm => ({ program, form: title, kind, isReady, make, bring, choose, ...rest });
}

/** What stands around an archive: nothing, or a compression of the whole. */
export const WRAPPINGS = {
  gzip: (path: string, to: string) => runWell(["sh", "-c", 'gzip -c "$0" >"$1"', path, to]),
  zstd: (path: string, to: string) => runWell(["zstd", "-q", path, "-o", to]),
} as const;
