import {
  answer,
  ECHO_FORMS,
  echo,
  type Fault,
  passAfter,
  redirect,
  reset,
  stall,
  tooMany,
  unauthorized,
} from "../../dev/faults/fault.ts";
import { faultAlways, faultAt } from "../../dev/faults/plan.ts";
import type { RequestKind } from "../../dev/faults/request-kind.ts";
import type { Scene, SecretCase } from "./secret-scene.ts";

type Wants = SecretCase["wants"];
type FaultOf = (scene: Scene) => Fault;

const UPLOADS = "/v2/team/app/blobs/uploads";

type EchoForm = keyof typeof ECHO_FORMS;
const FORMS = Object.keys(ECHO_FORMS) as EchoForm[];

/** One fault at one kind of request, and what is seen of it. */
function once(
  wants: Wants,
  kind: RequestKind,
  fault: FaultOf,
  more: Partial<SecretCase> & { readonly title: string },
): SecretCase {
  const { title, ...rest } = more;
  return { name: `${wants}: ${title}`, wants, plan: (scene) => faultAt(kind, 1, fault(scene)), ...rest };
}

function always(wants: Wants, kind: RequestKind, fault: Fault, says: RegExp): SecretCase {
  const name = `${wants}: ${fault.name} to every ${kind}`;
  return { name, wants, plan: () => faultAlways(kind, fault), says };
}

const PASSING: readonly [RequestKind, Fault][] = [
  ["first-patch", reset("before")],
  ["middle-patch", reset("middle")],
  ["closing-put", reset("after")],
  ["middle-patch", answer(416)],
  ["start-upload", tooMany("seconds", 1)],
  ["closing-put", answer(503, "cut")],
  ["ping", answer(524)],
  ["first-patch", answer(413)],
];
const LASTING: readonly [RequestKind, Fault, RegExp][] = [
  ["start-upload", unauthorized('Basic realm="tests"'), /401/],
  ["put-manifest", answer(403), /answered 403/],
  ["first-patch", answer(413), /refuses a body/],
  ["first-patch", reset("before"), /connection broke/],
  ["ping", answer(503), /503/],
];

/** Where an answer may repeat what it was sent. */
const ECHOES: readonly {
  readonly where: string;
  readonly kind: RequestKind;
  readonly status: number;
  readonly forms: readonly EchoForm[];
  readonly answerOf: (said: string, scene: Scene) => ReturnType<Parameters<typeof echo>[3]>;
  readonly says: RegExp;
}[] = [
  {
    where: "a page",
    kind: "start-upload",
    status: 400,
    forms: ["as sent"],
    answerOf: (said) => ({
      headers: { "content-type": "text/html", "set-cookie": `session=${encodeURIComponent(said)}` },
      text: `<html><pre>Authorization: ${said}</pre></html>`,
    }),
    says: /answered 400/,
  },
  {
    where: "an error's message",
    kind: "start-upload",
    status: 403,
    forms: FORMS,
    answerOf: (said) => ({
      text: JSON.stringify({ errors: [{ code: "DENIED", message: `no, with ${said}` }] }),
    }),
    says: /no, with ((Basic|Bearer)( |%20)|me(:|%3A))?\*\*\*/,
  },
  {
    where: "an error's message, as JSON in JSON",
    kind: "put-manifest",
    status: 400,
    forms: ["unpacked"],
    answerOf: (said) => ({
      text: JSON.stringify({ errors: [{ code: "DENIED", message: JSON.stringify({ said }) }] }),
    }),
    says: /\{"said":"((Basic|Bearer)( |%20)|me(:|%3A))?\*\*\*/,
  },
  {
    where: "the address of a token server",
    kind: "put-manifest",
    status: 401,
    forms: ["as sent", "unpacked"],
    answerOf: (said, { foreignUrl }) => ({
      headers: { "www-authenticate": `Bearer realm="${foreignUrl}/token?for=${quoted(said)}",service="s"` },
    }),
    says: /repeats/,
  },
  {
    where: "the place of an upload",
    kind: "start-upload",
    status: 202,
    forms: FORMS,
    answerOf: (said) => ({ headers: { location: `${UPLOADS}/${said}` } }),
    says: /repeats/,
  },
  {
    where: "the place of an upload elsewhere",
    kind: "start-upload",
    status: 202,
    forms: ["as sent"],
    answerOf: (said, { foreignUrl }) => ({ headers: { location: `${foreignUrl}/upload?for=${said}` } }),
    says: /repeats/,
  },
  {
    where: "where a chunk is sent to",
    kind: "first-patch",
    status: 307,
    forms: ["unpacked"],
    answerOf: (said, { foreignUrl }) => ({ headers: { location: `${foreignUrl}/?for=${said}` } }),
    says: /repeats/,
  },
];

function quoted(text: string): string {
  return text.replace(/["\\]/g, "\\$&");
}

/** A password gets in in every way, and out in none. */
const WAYS: readonly SecretCase[] = (
  ["standard input", "variable", "login file", "helper", "command"] as const
).map((way, i) => {
  const wants = i % 2 === 0 ? "basic" : "tokens";
  return { name: `${wants}: by ${way}, all goes well`, wants, way, says: /Pushed/ };
});

const REDIRECTS: readonly SecretCase[] = (["basic", "tokens"] as const).flatMap((wants) => [
  once(wants, "first-patch", () => redirect(), { title: "a chunk is sent to another port" }),
  once(wants, "first-patch", ({ foreignUrl }) => answer(308, "read", () => ({ location: foreignUrl })), {
    title: "a chunk is sent to a foreign server",
    says: /(?:leads|redirects) to http/,
  }),
  once(
    wants,
    "start-upload",
    ({ foreignUrl }) =>
      answer(202, "read", () => ({ location: `${foreignUrl}/v2/team/app/blobs/uploads/1` })),
    { title: "an upload is at a foreign server", says: /(?:leads|redirects) to http/ },
  ),
]);

const TOKENS: readonly SecretCase[] = [
  once("tokens", "token", ({ foreignUrl }) => answer(307, "read", () => ({ location: foreignUrl })), {
    title: "the token server sends to a foreign one",
    says: /issued no token/,
  }),
  once("tokens", "token", () => answer(503), { title: "the token server fails once", says: /Pushed/ }),
  once("tokens", "middle-patch", ({ tokens }) => passAfter("tokens expire", () => tokens.revokeAll()), {
    title: "tokens expire",
    says: /Pushed/,
  }),
  {
    name: "tokens: the answer has no token that can be used",
    wants: "tokens",
    tokenServer: { intercept: ({ basic }) => Response.json({ token: `with a space ${basic}` }) },
    says: /issued no token/,
  },
  ...(["as sent", "unpacked"] as const).map((form) =>
    once(
      "tokens",
      "token",
      () =>
        echo(401, form, "an error's message", (said) => ({
          text: JSON.stringify({ errors: [{ code: "DENIED", message: `no, with ${said}` }] }),
        })),
      { title: `the token server repeats it ${form}`, says: /no, with (Basic( |%20)|me(:|%3A))?\*\*\*/ },
    ),
  ),
  { name: "identity: all goes well", wants: "identity", way: "login file", says: /Pushed/ },
  { name: "identity: by helper", wants: "identity", way: "helper", says: /Pushed/ },
  ...[
    (text: string) => new URLSearchParams({ refresh_token: text }).toString(),
    (text: string) => JSON.stringify(text),
  ].map(
    (formOf, i): SecretCase => ({
      name: `identity: the token server repeats it, form ${i + 1}`,
      wants: "identity",
      tokenServer: {
        intercept: ({ form }) =>
          Response.json(
            { errors: [{ code: "INVALID", message: `no, with ${formOf(form["refresh_token"] ?? "")}` }] },
            { status: 400 },
          ),
      },
      says: /no, with .*\*\*\*/,
    }),
  ),
];

const ENDS: readonly SecretCase[] = [
  once(
    "basic",
    "middle-patch",
    ({ kill }) => reset("middle", { name: "killed", act: () => kill("SIGKILL") }),
    {
      title: "it is killed",
    },
  ),
  once(
    "tokens",
    "middle-patch",
    ({ kill }) => reset("middle", { name: "Ctrl-C", act: () => kill("SIGINT") }),
    {
      title: "it is interrupted",
      says: /Interrupted/,
    },
  ),
];

const LOCAL: readonly SecretCase[] = [
  {
    name: "a helper that answers, and fails",
    wants: "basic",
    way: "helper",
    files: () => ({
      "bin/docker-credential-of-tests": '#!/bin/sh\ncat "$HOME/secret.json"\necho oh no >&2\nexit 1\n',
    }),
    says: /docker-credential-of-tests exited with code 1/,
  },
  {
    name: "a helper that answers nonsense",
    wants: "basic",
    way: "helper",
    files: () => ({ "bin/docker-credential-of-tests": '#!/bin/sh\necho oops\ncat "$HOME/secret.json"\n' }),
    says: /returned invalid credentials/,
  },
  {
    name: "a credential command that answers, and fails",
    wants: "basic",
    way: "command",
    flags: ["--debug"],
    files: () => ({
      "bin/print-credentials": '#!/bin/sh\ncat "$HOME/secret.json" >&2\ncat "$HOME/secret.json"\nexit 1\n',
    }),
    says: /it ended with 1\..*It said/s,
  },
  {
    name: "a credential command that answers nonsense",
    wants: "basic",
    way: "command",
    files: () => ({ "bin/print-credentials": '#!/bin/sh\necho oops\ncat "$HOME/secret.json"\n' }),
    says: /more than a line/,
  },
  {
    name: "a login file that is cut short",
    wants: "basic",
    files: ({ password }) => ({ ".docker/config.json": `{"auths": ${JSON.stringify(password)}` }),
    says: /not valid JSON/,
  },
  {
    name: "a login that is no base64",
    wants: "basic",
    files: ({ proxy, password }) => ({
      ".docker/config.json": JSON.stringify({ auths: { [proxy.host]: { auth: password } } }),
    }),
    says: /expected user:password in base64/,
  },
  {
    name: "a login of another type",
    wants: "basic",
    files: ({ proxy, password }) => ({
      ".docker/config.json": JSON.stringify({ auths: { [proxy.host]: { password: [password] } } }),
    }),
    says: /Cannot read the logins/,
  },
  {
    name: "half a character in an identity token",
    wants: "identity",
    files: ({ proxy, identityToken }) => ({
      ".docker/config.json": JSON.stringify({
        auths: { [proxy.host]: { identitytoken: `${identityToken}\ud800` } },
      }),
    }),
    says: /does not accept the identity token/,
  },
  {
    name: "a certificate that nobody vouches for",
    wants: "basic",
    way: "variable",
    isUntrusted: true,
    says: /Cannot trust/,
  },
  {
    name: "Bun is asked to show all requests",
    wants: "tokens",
    env: { BUN_CONFIG_VERBOSE_FETCH: "curl" },
    says: /Pushed/,
  },
  {
    name: "the engine's image",
    wants: "tokens",
    way: "variable",
    flags: ["team/app:v1"],
    isFromEngine: true,
    says: /Pushed/,
  },
  {
    name: "an image that is not there",
    wants: "basic",
    way: "variable",
    flags: ["team/app:v1"],
    isFromEngine: true,
    files: () => ({ "bin/docker": '#!/bin/sh\n{ echo "$@"; env; } | tee "$RECORD/docker" >&2\nexit 1\n' }),
    says: /docker said/,
  },
];

export const SECRET_CASES: readonly SecretCase[] = [
  ...WAYS,
  ...PASSING.map(([kind, fault], i) => {
    const wants = i % 2 === 0 ? "basic" : "tokens";
    return once(wants, kind, () => fault, { title: `${fault.name} at ${kind}`, says: /Pushed/ });
  }),
  once("tokens", "middle-patch", stall, {
    title: "a stall",
    flags: ["--stall-timeout", "2"],
    says: /(?:stalled|no answer)[\s\S]*Pushed/,
  }),
  ...LASTING.map(([kind, fault, says], i) => always(i % 2 === 0 ? "tokens" : "basic", kind, fault, says)),
  ...ECHOES.flatMap(({ where, kind, status, forms, answerOf, says }) =>
    // A token has nothing to be unpacked.
    [...forms.map((form) => ["basic", form] as const), ["tokens", "as sent"] as const].map(([wants, form]) =>
      once(wants, kind, (scene) => echo(status, form, where, (said) => answerOf(said, scene)), {
        title: `what was sent is repeated ${form} in ${where}`,
        says,
      }),
    ),
  ),
  ...REDIRECTS,
  ...TOKENS,
  ...ENDS,
  ...LOCAL,
];
