import type { Intercept } from "../../dev/registry/answer-request.ts";
import type { RequestKind } from "../../dev/registry/route.ts";

/** Cloudflare's answer while it restarts a Worker. */
export const unavailable: Intercept = () =>
  new Response("Your worker restarted mid-request", { status: 503 });

/** The registry does what was asked, but its answer never arrives. */
export const answerLost: Intercept = async (_request, _kind, answer) => {
  await answer();
  return "drop" as const;
};

/** The connection breaks after the first bytes of the body. */
export const brokenBody: Intercept = async (request) => {
  await request.body?.getReader().read();
  return "drop" as const;
};

/** The upload is gone when the request arrives, as after the registry has cleaned up. */
export const sessionDeleted: Intercept = async (request) => {
  const url = new URL(request.url);
  url.search = "";
  await fetch(url, { method: "DELETE" });
  return undefined;
};

/** Somebody closes the upload with a wrong digest first, which kills it: R2 has put the parts together. */
export const sessionKilled: Intercept = async (request) => {
  const url = new URL(request.url);
  url.searchParams.set("digest", `sha256:${"0".repeat(64)}`);
  await fetch(url, { method: "PUT" });
  return undefined;
};

/** An answer with this status, from no registry: without a body that tells anything. */
export function answering(status: number, headers: Record<string, string> = {}, body = ""): Intercept {
  return () => new Response(body, { status, headers });
}

/** Lets requests of a kind meet a fault: those with these numbers, counted from 1; the others pass. */
export function faultAt(kind: RequestKind, numbers: readonly number[], fault: Intercept): Intercept {
  let count = 0;
  return (request, actual, answer) => {
    if (actual !== kind || !numbers.includes(++count)) return undefined;
    return fault(request, actual, answer);
  };
}

/** Lets every request of a kind meet a fault. */
export function faultAlways(kind: RequestKind, fault: Intercept): Intercept {
  return (request, actual, answer) => (actual === kind ? fault(request, actual, answer) : undefined);
}

/** Rewrites the `Location` of the registry's own answers. */
export function rewriteLocation(
  rewrite: (location: string) => string,
  kinds: readonly RequestKind[],
): Intercept {
  return async (_request, kind, answer) => {
    if (!kinds.includes(kind)) return undefined;
    const response = await answer();
    const location = response.headers.get("location");
    if (location !== null) response.headers.set("location", rewrite(location));
    return response;
  };
}
