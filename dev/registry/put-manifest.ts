import * as v from "valibot";
import { manifestError, registryError } from "./answers.ts";
import { findContent } from "./blob-store.ts";
import type { RegistryContext } from "./context.ts";
import { digestOf, isDigest } from "./digest.ts";
import type { IncomingBody } from "./incoming-body.ts";
import { type Descriptor, type Manifest, manifestSchema } from "./manifest-schema.ts";
import { findManifest, saveManifest } from "./manifest-store.ts";
import type { Route } from "./route.ts";

export async function putManifest(
  context: RegistryContext,
  { repository, target: reference }: Route,
  request: Request,
  body: IncomingBody,
): Promise<Response> {
  const contentType = request.headers.get("content-type");
  if (!contentType) return registryError(400, "SERVER_ERROR", "Content type not defined");

  const text = await readUtf8(body);
  const json = text === undefined ? undefined : parseJson(text);
  if (text === undefined || json === undefined) {
    return manifestError("MANIFEST_INVALID", "invalid manifest JSON");
  }
  const digest = digestOf(text);
  // Stricter than the real one on purpose: it keeps any bytes under any digest.
  if (isDigest(reference) && reference !== digest) {
    return manifestError("DIGEST_INVALID", `manifest has digest ${digest}, not ${reference}`);
  }
  const manifest = v.safeParse(manifestSchema, json.value);
  // What the real one says of a manifest that matches neither shape, and no more.
  if (!manifest.success) return manifestError("MANIFEST_INVALID", "Invalid input");
  const missing = await checkReferences(context, repository, manifest.output);
  if (missing !== undefined) return missing;

  await saveManifest(context.disk, repository, digest, { contentType, text });
  if (reference !== digest) await saveManifest(context.disk, repository, reference, { contentType, text });
  return new Response(null, {
    status: 201,
    headers: { Location: `/v2/${repository}/manifests/${reference}`, "Docker-Content-Digest": digest },
  });
}

/** Whether everything that the manifest names is there: an index needs its children, an image its blobs. */
async function checkReferences(
  { disk }: RegistryContext,
  repository: string,
  manifest: Manifest,
): Promise<Response | undefined> {
  if ("manifests" in manifest) {
    return firstRefusal(manifest.manifests, "manifest", async ({ digest }) => {
      const child = await findManifest(disk, repository, digest);
      return child && Buffer.byteLength(child.text);
    });
  }
  return firstRefusal([...manifest.layers, manifest.config], "blob", async ({ digest }) => {
    return (await findContent(disk, repository, digest))?.sizeBytes;
  });
}

async function firstRefusal(
  descriptors: readonly Descriptor[],
  noun: "blob" | "manifest",
  sizeOf: (descriptor: Descriptor) => Promise<number | undefined>,
): Promise<Response | undefined> {
  for (const descriptor of descriptors) {
    const sizeBytes = await sizeOf(descriptor);
    if (sizeBytes === undefined) return manifestError("BLOB_UNKNOWN", `unknown ${noun} ${descriptor.digest}`);
    // Stricter than the real one on purpose: engines refuse to pull an image whose sizes are wrong.
    if (sizeBytes !== descriptor.size) {
      const claim = `${descriptor.digest} has ${sizeBytes} bytes, not ${descriptor.size}`;
      return manifestError("MANIFEST_INVALID", claim);
    }
  }
  return undefined;
}

/** Manifests are small, so this body is the one that is held in memory. */
async function readUtf8(body: IncomingBody): Promise<string | undefined> {
  const chunks = await Array.fromAsync(body.chunks());
  try {
    // A byte order mark stays in, for the digest is that of the bytes sent.
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(Buffer.concat(chunks));
  } catch {
    return undefined;
  }
}

function parseJson(text: string): { value: unknown } | undefined {
  try {
    return { value: JSON.parse(text) };
  } catch {
    return undefined;
  }
}
