import { manifestUnknown } from "./answers.ts";
import type { RegistryContext } from "./context.ts";
import { digestOf } from "./digest.ts";
import { findManifest } from "./manifest-store.ts";
import type { Route } from "./route.ts";

/** GET and HEAD: the same headers, for HEAD with the length of the body it does not send. */
export async function readManifest({ disk }: RegistryContext, route: Route): Promise<Response> {
  const manifest = await findManifest(disk, route.repository, route.target);
  if (manifest === undefined) return manifestUnknown(route.target);
  const headers = {
    "Content-Type": manifest.contentType,
    "Content-Length": `${Buffer.byteLength(manifest.text)}`,
    "Docker-Content-Digest": digestOf(manifest.text),
  };
  return new Response(route.kind === "head-manifest" ? null : manifest.text, { headers });
}
