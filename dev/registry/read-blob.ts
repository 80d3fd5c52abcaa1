import { blobUnknown } from "./answers.ts";
import { describeBlob, findBlob, findContent } from "./blob-store.ts";
import type { RegistryContext } from "./context.ts";
import type { Route } from "./route.ts";

export async function headBlob({ disk }: RegistryContext, { repository, target }: Route): Promise<Response> {
  const blob = await findBlob(disk, repository, target);
  if (blob === undefined) return blobUnknown();
  const { sizeBytes, digest } = describeBlob(blob, target);
  return new Response(null, {
    headers: { "Content-Length": `${sizeBytes}`, "Docker-Content-Digest": digest },
  });
}

export async function getBlob({ disk }: RegistryContext, { repository, target }: Route): Promise<Response> {
  const content = await findContent(disk, repository, target);
  if (content === undefined) return blobUnknown();
  return new Response(Bun.file(content.path, { type: "application/octet-stream" }), {
    headers: { "Docker-Content-Digest": target },
  });
}
