import * as v from "valibot";
import { PushError } from "../../errors.ts";
import { object, parseJson, record } from "../../oci/json-schema.ts";
import { runEngine } from "../engine/command.ts";
import type { Engine } from "../engine/engine.ts";

/** The place where an engine on this machine keeps its images. */
export type EngineInfo = {
  readonly root: string;
  /** Such as `overlay2`. */
  readonly driver: string;
  readonly isPodman: boolean;
  /** Roots of Podman's additional stores, which are read-only. */
  readonly otherRoots: readonly string[];
  /** Whether a layer's folder has all files of the layer. */
  readonly areLayersWhole: boolean;
  /** The socket of Docker's containerd. */
  readonly containerd: string | undefined;
};

const STATUS = v.fallback(v.nullish(v.array(v.tuple([v.string(), v.string()]))), undefined);

const INFO = object({
  DockerRootDir: v.optional(v.string(), ""),
  Driver: v.optional(v.string(), ""),
  DriverStatus: STATUS,
  Containerd: v.fallback(v.nullish(object({ Address: v.string() })), undefined),
  // Podman's command reports this field alone; its service reports the others.
  store: v.optional(
    object({
      graphRoot: v.string(),
      graphDriverName: v.string(),
      graphOptions: v.fallback(v.nullish(record(v.string(), v.unknown())), undefined),
    }),
  ),
});

/** Asks an engine where it keeps its images. Throws `ENGINE_FAILED`, `IMAGE_INVALID`, and the errors of `runEngine`. */
export async function readEngineInfo(engine: Engine): Promise<EngineInfo> {
  const { exitCode, stdout, stderr } = await runEngine(["info", "--format", "{{json .}}"], engine);
  if (exitCode !== 0)
    throw new PushError(
      "ENGINE_FAILED",
      `Cannot ask the engine where it stores images: ${stderr.slice(-500)}`,
    );
  const info = parseJson(new TextEncoder().encode(stdout), INFO, "the engine's description of itself");
  const { store } = info;
  if (store !== undefined) {
    return {
      root: store.graphRoot,
      driver: store.graphDriverName,
      isPodman: true,
      otherRoots: Object.entries(store.graphOptions ?? {})
        .filter(([key]) => /imagestores?$/i.test(key))
        .flatMap(([, value]) => value)
        .filter((value) => typeof value === "string"),
      areLayersWhole: true,
      containerd: undefined,
    };
  }
  return {
    root: info.DockerRootDir,
    driver: info.Driver,
    // Docker removed its driver of this name in version 24, so this is Podman.
    isPodman: info.Driver === "overlay",
    otherRoots: [],
    // With "redirect_dir" or "metacopy", files have their content in other layers.
    areLayersWhole: !info.DriverStatus?.some(
      ([key, value]) => key === "Native Overlay Diff" && value === "false",
    ),
    containerd: info.Containerd?.Address,
  };
}
