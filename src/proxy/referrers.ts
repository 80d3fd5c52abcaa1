import { MEDIA_TYPE } from "../oci/descriptor.ts";
import type { Digest } from "../oci/digest.ts";
import { indexOfReferrers, readFallback, readListed } from "../registry/referrers.ts";
import type { Call, Repository } from "../registry/registry.ts";
import { respond } from "./answers.ts";
import { nextPage } from "./lists.ts";
import { pick } from "./relay.ts";

/**
 * GET: lists the referrers of a manifest. For a registry without this list, reads it from the tag of the subject. Clients
 * see a registry with the list, and so leave the tag to this proxy.
 */
export async function readReferrers(
  at: Repository,
  subject: Digest,
  client: URL,
  call: Call,
): Promise<Response> {
  const listed = await readListed(at, subject, call, client.search);
  if (listed !== undefined) {
    const link = nextPage(at, listed.headers, listed.url, client);
    const headers = {
      ...pick(listed.headers, ["oci-filters-applied"]),
      ...(link && { link: `<${link}>; rel="next"` }),
    };
    return respondIndex(listed.bytes, headers);
  }
  const { manifests = [] } = (await readFallback(at, subject, call)) ?? {};
  const type = client.searchParams.get("artifactType");
  if (type === null) return respondIndex(indexOfReferrers(manifests).bytes);
  const filtered = manifests.filter(({ ["artifactType"]: each }) => each === type);
  return respondIndex(indexOfReferrers(filtered).bytes, { "oci-filters-applied": "artifactType" });
}

function respondIndex(
  bytes: Uint8Array<ArrayBuffer>,
  headers: Readonly<Record<string, string>> = {},
): Response {
  return respond(200, { ...headers, "content-type": MEDIA_TYPE.index }, bytes);
}
