import { PushError } from "../errors.ts";
import type { Runtime } from "./engine/engine.ts";

/** The place of an image according to the source argument. */
export type SourcePlace =
  /** A file or folder of any form, and perhaps the name of an image in it. */
  | { readonly kind: "path"; readonly path: string; readonly image: string | undefined }
  | { readonly kind: "engine"; readonly runtime: Runtime; readonly name: string }
  | { readonly kind: "registry"; readonly reference: string }
  /** Standard input. */
  | { readonly kind: "stream" }
  /** A path, or else the name of an image in an engine. */
  | { readonly kind: "any"; readonly text: string };

/** An archive that another program writes. */
export type SourceStream = { readonly name: string; readonly stream: AsyncIterable<Uint8Array> };

/** skopeo's transports, and what follows each. The form of a path is detected by its content, so all paths are alike. */
export const TRANSPORTS = {
  "docker-archive": "path[:image]",
  "oci-archive": "path[:image]",
  oci: "path[:image]",
  dir: "path",
  "docker-daemon": "docker",
  "containers-storage": "podman",
} as const;

type Transport = keyof typeof TRANSPORTS;

/**
 * Parses a source, which may have one of skopeo's transports: `docker-archive:image.tar:my/app:v1`. A transport takes
 * precedence over a path or image of that name; `./oci:v1` is always a path. Throws `USAGE`.
 */
export function parseSource(text: string): SourcePlace {
  if (text === "-") return { kind: "stream" };
  if (text.startsWith("docker://")) return { kind: "registry", reference: notEmpty(text.slice(9), text) };
  const [, transport = "", rest = ""] = /^([a-z-]+):(.*)$/s.exec(text) ?? [];
  if (!isTransport(transport)) return { kind: "any", text };
  const form = TRANSPORTS[transport];
  notEmpty(rest, text);
  switch (form) {
    case "path":
      return { kind: "path", path: rest, image: undefined };
    case "path[:image]": {
      const [, path = "", image] = /^((?:[A-Za-z]:[\\/])?[^:]*)(?::(.*))?$/s.exec(rest) ?? [];
      return { kind: "path", path: notEmpty(path, text), image: image || undefined };
    }
    default:
      return { kind: "engine", runtime: form, name: engineName(rest, text) };
  }
}

function isTransport(text: string): text is Transport {
  return Object.hasOwn(TRANSPORTS, text);
}

/** Returns an image's name or ID. Throws `USAGE` for `containers-storage:[driver@root]name`, which names a store. */
function engineName(rest: string, text: string): string {
  if (rest.startsWith("[")) {
    throw new PushError("USAGE", `The source "${text}" names a storage location, which is not supported.`, {
      hint: "Leave out the part in brackets. Podman finds its storage itself, or through CONTAINERS_STORAGE_CONF.",
    });
  }
  // skopeo writes "@" before an ID.
  return notEmpty(rest.replace(/^@/, ""), text);
}

function notEmpty(rest: string, text: string): string {
  if (rest !== "") return rest;
  throw new PushError("USAGE", `The source "${text}" has nothing after its prefix.`, {
    hint: "Is a variable unset? To push a file or folder of this name, write it as a path: ./NAME",
  });
}
