import { PushError } from "../errors.ts";
import { formatDuration } from "../format.ts";
import { isLoopback } from "../oci/address.ts";
import { digestOf } from "../oci/digest.ts";
import { bearerChallenge } from "../registry/auth/challenge.ts";
import { type ServerCertificate, serverCertificate } from "../registry/http/certificate-issuer.ts";
import { expectStatus } from "../registry/http/expect-status.ts";
import { followRedirects, send } from "../registry/http/send.ts";
import { type Answer, openResponse, readAnswer } from "../registry/http/send-once.ts";
import { isPage, printable, quotePage, readSpecErrors, titleOf } from "../registry/http/spec-errors.ts";
import { blobUrl, type Call, type Registry } from "../registry/registry.ts";
import { type Finding, failureOf } from "./steps.ts";

/** The result of the first request, which has no credentials. */
export type Greeting = {
  /** The address that was asked last, after redirects. */
  readonly url: URL;
  /** Undefined if the request failed. */
  readonly answer?: Answer;
  /** The error if the request failed. */
  readonly failure?: unknown;
  /** The time from the request to its end, in milliseconds. */
  readonly ms: number;
  /** The end of the request, in milliseconds since 1970. */
  readonly atMs: number;
};

/** Beyond this difference, tokens and certificates may be invalid. */
const MAX_SKEW_MS = 5 * 60_000;

/** The digest of a blob that no registry has. */
const NO_BLOB = digestOf(new TextEncoder().encode("chunkpush check: nobody has this blob"));

/** GET /v2/ without credentials: the answer shows what kind of server it is. Follows redirects, as a push does. Throws the signal's reason. */
export async function greet(registry: Registry, call: Call): Promise<Greeting> {
  const request = { method: "GET", url: new URL(`${registry.origin}/v2/`) } as const;
  const startMs = performance.now();
  let { url } = request;
  const openAt = (next: URL) => {
    url = next;
    return openResponse(registry, request, next, undefined, call);
  };
  const result = await followRedirects(registry, request, openAt)
    .then(async (response) => ({ answer: await readAnswer(registry, response) }))
    .catch((failure: unknown) => {
      call.signal.throwIfAborted();
      return { failure };
    });
  return { url, ...result, ms: Math.round(performance.now() - startMs), atMs: Date.now() };
}

/** Describes the registry's certificate. Fails if the first request did not trust it. */
export async function checkTls(
  registry: Registry,
  greeting: Promise<Greeting>,
  proxy: URL | undefined,
): Promise<Finding> {
  const url = new URL(registry.origin);
  if (url.protocol === "http:") {
    const text = isLoopback(url)
      ? "not used: plain HTTP on this machine"
      : "not used: plain HTTP, traffic can be intercepted";
    return { state: "unused", text, facts: { used: false } };
  }
  const [certificate, greeted] = await Promise.all([serverCertificate(url, proxy), greeting]);
  // A failure where a redirect leads says nothing about this certificate.
  const failure = greeted.url.origin === url.origin ? greeted.failure : undefined;
  const facts = certificate && {
    issuer: certificate.issuer,
    names: certificate.names,
    validTo: certificate.validTo.toISOString(),
  };
  if (failure instanceof PushError && failure.code.startsWith("TLS_")) {
    const { code, message, hint } = failure;
    return { state: "failed", text: message, hint, facts: { ...facts, code } };
  }
  // The connection broke before the server sent a certificate.
  if (failure !== undefined && certificate === undefined) throw failure;
  const isUnverified = registry.trust.skipVerify === true;
  const text = certificate === undefined ? "certificate accepted" : describe(certificate);
  return { state: "ok", text: isUnverified ? `not verified; ${text}` : text, facts: facts ?? {} };
}

function describe({ issuer, names, validTo }: ServerCertificate): string {
  const date = Number.isNaN(validTo.getTime()) ? undefined : validTo.toISOString().slice(0, 10);
  return [
    date && `valid until ${date}`,
    issuer && `issued by ${issuer}`,
    names.length > 0 && `for ${names.slice(0, 3).join(", ")}${names.length > 3 ? ", …" : ""}`,
  ]
    .filter(Boolean)
    .join(", ");
}

/** Tells a registry from a website, a login page and an error page. Throws as the request, and as `expectStatus`. */
export async function checkRegistryApi(
  registry: Registry,
  { answer, failure, url, ms }: Greeting,
  call: Call,
): Promise<Finding> {
  const at = { registry, name: "" };
  const request = { method: "GET", url: new URL(`${registry.origin}/v2/`) } as const;
  const redirectedTo =
    url.href === request.url.href
      ? undefined
      : printable(`${url.origin}${url.pathname}`, registry.auth.secrets());
  if (answer === undefined) {
    if (redirectedTo === undefined || !(failure instanceof PushError)) throw failure;
    const { facts, text, ...failed } = failureOf(failure);
    const led = `${registry.origin} redirects to ${redirectedTo}. ${text}`;
    return { ...failed, text: led, facts: { ...facts, redirectedTo } };
  }
  const { status, headers } = answer;
  const facts = { status, ms, redirectedTo };
  const isPublic = status === 200 || status === 404;
  if (isPage(answer) && !saysRegistry(answer) && (isPublic || status === 401))
    return notARegistry(registry, answer, `answers /v2/ with ${status}`, facts);
  if (isPublic) {
    const url = blobUrl({ registry, name: "chunkpush/check" }, NO_BLOB);
    const blob = await send(at, { method: "GET", url, scopes: [] }, call);
    if (blob.status === 200) return notARegistry(registry, answer, "answers 200 to everything", facts);
    // Some registries serve repositories, but not the path `/v2/` itself.
    if (status === 404 && ![answer, blob].some(saysRegistry))
      return notARegistry(registry, answer, "answers 404 to everything", facts);
  } else {
    // No credentials go to another origin.
    const isOwn = answer.url.origin === registry.origin;
    expectStatus(at, request, answer, isOwn ? (isPage(answer) ? [401] : [401, 403]) : []);
  }
  const bearer = bearerChallenge(headers);
  const asks = bearer
    ? `; tokens come from ${printable(URL.parse(bearer.realm)?.host ?? "an invalid address", registry.auth.secrets())}`
    : isPublic
      ? ""
      : "; it requires a login";
  const led = redirectedTo === undefined ? "" : `leads to ${redirectedTo}, which `;
  return { state: "ok", text: `/v2/ ${led}answers in ${ms} ms${asks}`, facts };
}

/** Tells whether an answer comes from a registry, or from a proxy that asks for its login with an HTML page. */
function saysRegistry({ headers, text }: Answer): boolean {
  return (
    headers.has("docker-distribution-api-version") ||
    headers.has("www-authenticate") ||
    readSpecErrors(text).length > 0
  );
}

function notARegistry({ auth }: Registry, answer: Answer, does: string, facts: object): Finding {
  const secrets = auth.secrets();
  const title = titleOf(answer, secrets);
  return {
    state: "failed",
    text: `${answer.url.host} is not a registry: it ${does}${quotePage(answer, secrets)}`,
    hint: "Check the host. The registry of a website is often at another one, such as registry.example.com.",
    facts: { ...facts, code: "NOT_A_REGISTRY", ...(title !== undefined && { title }) },
  };
}

/** Compares this machine's clock with the registry's. */
export function checkClock({ answer, ms, atMs }: Greeting): Finding {
  const told = Date.parse(answer?.headers.get("date") ?? "");
  if (Number.isNaN(told)) return { state: "unused", text: "the registry sends no date" };
  // `Date` has whole seconds, rounded down: half a second is the mean error.
  const skewMs = Math.round((atMs - ms / 2 - told - 500) / 1000) * 1000;
  const facts = { skewSeconds: skewMs / 1000 };
  const by = formatDuration(Math.abs(skewMs));
  if (Math.abs(skewMs) <= MAX_SKEW_MS) {
    const isSame = Math.abs(skewMs) < 2000;
    return { state: "ok", text: isSame ? "agrees with the registry's" : `differs by ${by}`, facts };
  }
  return {
    state: "limited",
    text: `this machine's clock is ${by} ${skewMs > 0 ? "ahead of" : "behind"} the registry's`,
    hint: "Set the clock: with a wrong one, tokens are refused and certificates seem invalid.",
    facts,
  };
}
