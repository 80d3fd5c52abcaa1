import { PushError } from "../errors.ts";
import { pullScope } from "./auth/scope.ts";
import { exchangePersistently } from "./http/send.ts";
import { type Call, manifestUrl, type Repository } from "./registry.ts";

/** Few: without an answer, the manifest is pushed. */
const MAX_RETRIES = 2;

/**
 * HEAD: asks for the digest of the manifest or index under a tag. Undefined if there is none, or the registry does not
 * say.
 */
export async function findManifest(
  at: Repository,
  tag: string,
  accept: readonly string[],
  call: Call,
): Promise<string | undefined> {
  const { registry } = at;
  const retries = { ...registry.retries, count: Math.min(registry.retries.count, MAX_RETRIES) };
  const headers = { accept: accept.join(", ") };
  const request = {
    method: "HEAD",
    url: manifestUrl(at, tag),
    headers,
    scopes: [pullScope(at.name)],
  } as const;
  try {
    const place = { ...at, registry: { ...registry, retries } };
    const answer = await exchangePersistently(place, request, [200, 404], call);
    return answer.status === 200 ? (answer.headers.get("docker-content-digest") ?? undefined) : undefined;
  } catch (error) {
    if (call.signal.aborted || !(error instanceof PushError)) throw error;
    return undefined;
  }
}
