/** The table of what a registry may do wrong: at which request, what, and how a push ends then. */
import { gzipSync } from "node:zlib";
import type { Intercept } from "../../dev/registry/answer-request.ts";
import type { RequestKind } from "../../dev/registry/route.ts";
import type { ErrorCode } from "../../index.ts";
import { seededBytes } from "../support/seeded-bytes.ts";

export const CREDENTIALS = { username: "me", password: "hush-Xq7-hush-Xq7-hush" };
export const TOKEN = "t0ken-Zk3-t0ken-Zk3";

/** What a fault may use. `answer` lets the registry do what it was asked, and gives its answer. */
type Scene = {
  readonly request: Request;
  /** Counts the requests of this kind, from 1 on. */
  readonly count: number;
  /** The registry's address. */
  readonly url: string;
  /** A server of somebody else, which answers 404 and is shown no secret. */
  readonly elsewhere: string;
  answer(): Promise<Response>;
};
type Intercepted = Awaited<ReturnType<Intercept>>;
type Fault = (scene: Scene) => Intercepted | Promise<Intercepted>;
type Outcome = "pushed" | ErrorCode | readonly ErrorCode[];

const says =
  (status: number, headers: Record<string, string> = {}, body: BodyLike = null): Fault =>
  () =>
    new Response(body, { status, headers });
type BodyLike = ConstructorParameters<typeof Response>[0];

/** The first request of its kind meets a fault. */
const once =
  (fault: Fault): Fault =>
  (scene) =>
    scene.count === 1 ? fault(scene) : undefined;

/** The registry does what it was asked, and its answer is lost. */
const lost = async ({ answer }: Scene): Promise<Intercepted> => {
  await answer();
  return "drop";
};

/** The connection breaks after the first bytes of the body. */
const brokenOff = async ({ request }: Scene): Promise<Intercepted> => {
  await request.body?.getReader().read();
  return "drop";
};

/** The registry does what it was asked, and says something else. */
const instead =
  (status: number, headers: Record<string, string> = {}, body: BodyLike = null): Fault =>
  async ({ answer }) => {
    await answer();
    return new Response(body, { status, headers });
  };

/** The registry's answer, with other headers. */
const reworded =
  (change: (headers: Headers, scene: Scene) => void): Fault =>
  async (scene) => {
    const response = await scene.answer();
    change(response.headers, scene);
    return response;
  };

const located = (write: (path: string, scene: Scene) => string): Fault =>
  reworded((headers, scene) => {
    const { pathname, search } = new URL(headers.get("location") ?? "", scene.url);
    headers.set("location", write(pathname + search, scene));
  });

const with401 = (challenge: (scene: Scene) => string): Fault => {
  return (scene) => new Response(null, { status: 401, headers: { "www-authenticate": challenge(scene) } });
};
const realm = (address: string) => with401(() => `Bearer realm="${address}",service="x"`);

const endless = () =>
  new ReadableStream({
    async pull(controller) {
      await Bun.sleep(0);
      controller.enqueue(new Uint8Array(65_536).fill(120));
    },
  });
const silent = () => new ReadableStream({ start: (controller) => controller.enqueue(new Uint8Array(1)) });
const BOMB = gzipSync(Buffer.alloc(20_000_000));
const LOUD = JSON.stringify({
  errors: [{ code: "LOUD", message: `\u001b[2J\u202e${CREDENTIALS.password}${"x".repeat(900_000)}` }],
});
const DEEP = `${'{"errors":['.repeat(50_000)}`;
const BINARY = new Uint8Array(seededBytes(10_000, 2));
const YEAR = { "retry-after": "31536000" };
const METADATA = "http://169.254.169.254/latest";
const LOST: ErrorCode[] = ["CONNECTION_LOST", "STALLED"];

/** Bodies that an answer may have, where only its status matters. */
const BODIES: [string, () => BodyLike, Record<string, string>?][] = [
  ["an endless body", endless],
  ["a compressed bomb", () => BOMB, { "content-encoding": "gzip" }],
  ["a body of another encoding", () => BINARY, { "content-encoding": "zstd" }],
  ["binary", () => BINARY],
  ["deep JSON", () => DEEP],
  ["a loud error of a MB", () => LOUD],
];

export type Row = readonly [kind: RequestKind | "token", name: string, fault: Fault, outcome: Outcome];

const GREETING: Row[] = [
  ["ping", "answers 200 with text", says(200, {}, "OK"), "pushed"],
  ["ping", "answers 200 with a page", says(200, { "content-type": "text/html" }, "<html>"), "NOT_A_REGISTRY"],
  ["ping", "answers 404", says(404), "pushed"],
  ["ping", "answers 204", says(204), "REGISTRY_UNSUPPORTED"],
  ["ping", "answers 500", says(500), "REGISTRY_FAILED"],
  ["ping", "answers 500 once", once(says(500)), "pushed"],
  ["ping", "wants a wait of a year", says(429, YEAR), "STALLED"],
  ["ping", "wants a wait in nonsense", once(says(503, { "retry-after": "-1e99" })), "pushed"],
  ["ping", "hangs up", () => "drop", LOST],
  ["ping", "hangs up once", once(() => "drop"), "pushed"],
  ["ping", "is silent in its body", () => new Response(silent()), "STALLED"],
  ["ping", "leads elsewhere", ({ elsewhere }) => Response.redirect(elsewhere, 302), "pushed"],
  ["ping", "leads in circles", ({ url }) => Response.redirect(`${url}/v2/`, 307), "REDIRECT_REFUSED"],
  ["ping", "leads to a file", says(302, { location: "file:///etc/passwd" }), "REDIRECT_REFUSED"],
  ["ping", "leads to a script", says(302, { location: "javascript:alert(1)" }), "REDIRECT_REFUSED"],
  ["ping", "leads to the metadata of the cloud", says(302, { location: METADATA }), "REDIRECT_REFUSED"],
  [
    "ping",
    "leads to an address with the password",
    says(302, { location: `/v2/?p=${CREDENTIALS.password}` }),
    "REDIRECT_REFUSED",
  ],
  ["ping", "answers 302 without a Location", says(302), "REGISTRY_UNSUPPORTED"],
  ["ping", "answers 401 and no more", says(401), "UNAUTHORIZED"],
  ["ping", "answers 403 and no more", says(403), "DENIED"],
  ["ping", "wants Basic", with401(() => 'Basic realm="x"'), "UNAUTHORIZED"],
  ["ping", "wants Negotiate", with401(() => "Negotiate"), "UNAUTHORIZED"],
  ["ping", "has a challenge without a realm", with401(() => 'Bearer service="x"'), "UNAUTHORIZED"],
  [
    "ping",
    "has a challenge of garbage",
    with401(() => `Bearer ="",,\\"${"x=".repeat(5000)}`),
    "UNAUTHORIZED",
  ],
  [
    "ping",
    "has an unclosed challenge",
    with401(() => 'Bearer realm="http://x'),
    ["TOKEN_FAILED", "UNAUTHORIZED"],
  ],
  ["ping", "has a realm that is no address", realm("over there"), "TOKEN_FAILED"],
  ["ping", "has a realm that is a file", realm("file:///etc/passwd"), "TOKEN_FAILED"],
  ["ping", "has a realm with a user", realm("https://a:b@127.0.0.1/"), "TOKEN_FAILED"],
  ["ping", "has a realm in plain HTTP elsewhere", realm("http://tokens.example/"), "TOKEN_FAILED"],
  ["ping", "has a realm at the metadata", realm(METADATA.replace("http", "https")), "REDIRECT_REFUSED"],
  ["ping", "has a realm with the password", realm(`https://x/${CREDENTIALS.password}`), "TOKEN_FAILED"],
  ["ping", "has a realm where nobody is", realm("http://127.0.0.1:1/"), "CONNECTION_REFUSED"],
  [
    "ping",
    "has a realm that is elsewhere",
    with401(({ elsewhere }) => `Bearer realm="${elsewhere}/realm"`),
    "TOKEN_FAILED",
  ],
];

const json = (value: unknown) => says(200, {}, JSON.stringify(value));
const TOKENS: Row[] = [
  ["token", "gives no JSON", says(200, {}, "token=x"), "TOKEN_FAILED"],
  ["token", "gives a list", json([TOKEN]), "TOKEN_FAILED"],
  ["token", "gives null", json(null), "TOKEN_FAILED"],
  ["token", "gives a number", json({ token: 5 }), "TOKEN_FAILED"],
  ["token", "gives an empty token", json({ token: "" }), "TOKEN_FAILED"],
  ["token", "gives a token with a line break", json({ token: "a\r\nx: y" }), "TOKEN_FAILED"],
  [
    "token",
    "gives a token of a MB",
    json({ token: "x".repeat(1_000_000) }),
    ["CONNECTION_LOST", "REGISTRY_REFUSED"],
  ],
  ["token", "gives a token cut off", says(200, {}, `{"token":"${TOKEN}`), "TOKEN_FAILED"],
  ["token", "gives a token as access_token", json({ token: null, access_token: TOKEN }), "pushed"],
  ...[-5, 0, 1e308, "NaN", null, "1e999", {}].map(
    (life): Row => [
      "token",
      `expires in ${JSON.stringify(life)}`,
      json({ token: TOKEN, expires_in: life }),
      "pushed",
    ],
  ),
  ["token", "was issued nowhen", json({ token: TOKEN, issued_at: "-271821-04-20T00:00:00Z" }), "pushed"],
  ["token", "gives deep JSON", says(200, {}, DEEP), "TOKEN_FAILED"],
  ["token", "gives binary", says(200, {}, BINARY), "TOKEN_FAILED"],
  ["token", "gives a bomb", says(200, { "content-encoding": "gzip" }, BOMB), "TOKEN_FAILED"],
  ["token", "gives an endless body", () => new Response(endless()), "TOKEN_FAILED"],
  ["token", "leads elsewhere", ({ elsewhere }) => Response.redirect(elsewhere, 307), "TOKEN_FAILED"],
  [
    "token",
    "gives tokens that are never good",
    json({ token: "no-good-at-all" }),
    ["UNAUTHORIZED", "DENIED"],
  ],
  ["token", "refuses", says(401, {}, LOUD), "UNAUTHORIZED"],
  ["token", "denies", says(403, {}, LOUD), "DENIED"],
  ["token", "fails once", once(says(503)), "pushed"],
  ["token", "wants a wait of a year", says(429, YEAR), "STALLED"],
  ["token", "hangs up", () => "drop", LOST],
];

const HEADS: Row[] = [
  ["head-blob", "always has everything, without a length", says(200), "pushed"],
  ["head-blob", "has a blob that it misses", once(says(200)), "pushed"],
  ...["0", "1", "999999999999999999999", "-1", "x"].map(
    (size): Row => [
      "head-blob",
      `has a blob of ${size} bytes that it misses`,
      once(says(200, { "content-length": size })),
      "pushed",
    ],
  ),
  ["head-blob", "answers 204", says(204), "REGISTRY_UNSUPPORTED"],
  ["head-blob", "answers 405", says(405), "REGISTRY_REFUSED"],
  ["head-blob", "answers 403", says(403), "DENIED"],
  ["head-blob", "answers 500 once", once(says(500)), "pushed"],
  [
    "head-blob",
    "leads elsewhere, where nothing is",
    ({ elsewhere }) => Response.redirect(`${elsewhere}/x`, 307),
    "pushed",
  ],
  ["head-blob", "leads to the metadata", says(307, { location: METADATA }), "REDIRECT_REFUSED"],
  ["head-blob", "asks for a token in plain HTTP elsewhere", realm("http://tokens.example/"), "TOKEN_FAILED"],
];

const STARTS: Row[] = [
  [
    "start-upload",
    "names no Location",
    reworded((headers) => headers.delete("location")),
    "REGISTRY_UNSUPPORTED",
  ],
  ["start-upload", "names an absolute Location", located((path, { url }) => url + path), "pushed"],
  ["start-upload", "names a path", located((path) => path), "pushed"],
  [
    "start-upload",
    "names a relative Location",
    located((path) => path.replace(/^.*\/(?=[^/]+$)/, "")),
    "pushed",
  ],
  [
    "start-upload",
    "names a Location without a scheme",
    located((path, { url }) => url.slice(5) + path),
    "pushed",
  ],
  ["start-upload", "names a Location with a fragment", located((path) => `${path}#part`), "pushed"],
  ["start-upload", "names a Location with dots", located((path) => `/v2/../v2/./${path.slice(4)}`), "pushed"],
  ["start-upload", "names an empty Location", located(() => ""), ["REGISTRY_REFUSED", "DENIED"]],
  [
    "start-upload",
    "names a Location with a user",
    located((path, { url }) => url.replace("//", "//a:b@") + path),
    "pushed",
  ],
  [
    "start-upload",
    "names a Location of 10 kB",
    located((path) => `${path}&x=${"y".repeat(10_000)}`),
    "pushed",
  ],
  [
    "start-upload",
    "names a Location of a MB",
    located((path) => path + "y".repeat(1_000_000)),
    ["REGISTRY_REFUSED", "CONNECTION_LOST"],
  ],
  ["start-upload", "names garbage", located(() => "http://[::"), "REDIRECT_REFUSED"],
  ["start-upload", "names a script", located(() => "javascript:alert(1)"), "REDIRECT_REFUSED"],
  ["start-upload", "names a file", located(() => "file:///etc/passwd"), "REDIRECT_REFUSED"],
  ["start-upload", "names the metadata", located(() => METADATA), "REDIRECT_REFUSED"],
  [
    "start-upload",
    "names the password",
    located((path) => `${path}&p=${CREDENTIALS.password}`),
    "REDIRECT_REFUSED",
  ],
  [
    "start-upload",
    "names a place elsewhere",
    located((path, { elsewhere }) => elsewhere + path),
    ["REGISTRY_REFUSED"],
  ],
  [
    "start-upload",
    "names a place where nobody is",
    located(() => "http://127.0.0.1:1/"),
    "CONNECTION_REFUSED",
  ],
  [
    "start-upload",
    "wants tiny chunks",
    reworded((headers) => headers.set("oci-chunk-max-length", "1")),
    "REGISTRY_UNSUPPORTED",
  ],
  [
    "start-upload",
    "wants huge chunks",
    reworded((headers) => headers.set("oci-chunk-min-length", "9".repeat(15))),
    "pushed",
  ],
  ["start-upload", "hangs up", () => "drop", LOST],
  ["start-upload", "says 201, as if mounted", says(201), "NOT_A_REGISTRY"],
  ["start-upload", "says 200", says(200), "NOT_A_REGISTRY"],
  ["start-upload", "says 413", says(413), "REGISTRY_REFUSED"],
  ["start-upload", "says 416", says(416, { range: "0-5", location: "/x" }), "REGISTRY_REFUSED"],
  ["start-upload", "says 501", says(501), "REGISTRY_FAILED"],
  ["start-upload", "leads elsewhere", ({ elsewhere }) => Response.redirect(elsewhere, 307), "NOT_A_REGISTRY"],
  [
    "start-upload",
    "leads elsewhere by 301",
    ({ elsewhere }) => Response.redirect(elsewhere, 301),
    "REDIRECT_REFUSED",
  ],
  ["start-upload", "loses its answer once", once(lost), "pushed"],
];

const RANGES = [
  "",
  "0-",
  "bytes=0-99",
  "-1",
  "0--1",
  "0-99999999999999999999",
  "5-3",
  "NaN",
  "1-5",
  "0-149999",
  "0-999999",
  "0-0",
];
const PATCHES: Row[] = [
  ...RANGES.map(
    (range): Row => [
      "patch",
      `says 202 with the range ${range}`,
      reworded((headers) => headers.set("range", range)),
      "pushed",
    ],
  ),
  ...RANGES.map(
    (range): Row => [
      "patch",
      `says 416 with the range ${range}`,
      says(416, { range, location: "/v2/x" }),
      ["REGISTRY_REFUSED", "BODY_TOO_LARGE"],
    ],
  ),
  [
    "patch",
    "says 202, and has nothing",
    ({ request }) => new Response(null, { status: 202, headers: { location: request.url } }),
    "REGISTRY_FAILED",
  ],
  [
    "patch",
    "says 202 without a Location",
    reworded((headers) => headers.delete("location")),
    "REGISTRY_REFUSED",
  ],
  ["patch", "goes on elsewhere", located((path, { elsewhere }) => elsewhere + path), "REGISTRY_REFUSED"],
  ["patch", "goes on at the metadata", located(() => METADATA), "REDIRECT_REFUSED"],
  ["patch", "says 200", instead(200), "REGISTRY_UNSUPPORTED"],
  ["patch", "says 400", says(400, {}, LOUD), "REGISTRY_REFUSED"],
  ["patch", "says 404", says(404), "REGISTRY_REFUSED"],
  ["patch", "says 404 once", once(says(404)), "pushed"],
  ["patch", "says 405", says(405), "REGISTRY_REFUSED"],
  ["patch", "says 408 once", once(says(408)), "pushed"],
  ["patch", "says 413", says(413, { "oci-chunk-max-length": "65535" }), "BODY_TOO_LARGE"],
  ["patch", "says 425 once", once(says(425)), "pushed"],
  ["patch", "says 429 once", once(says(429, { "retry-after": "0" })), "pushed"],
  ["patch", "wants a wait of a year", says(429, YEAR), "STALLED"],
  ["patch", "leads in circles", ({ request }) => Response.redirect(request.url, 308), "REDIRECT_REFUSED"],
  ["patch", "leads to a GET", ({ request }) => Response.redirect(request.url, 303), "REDIRECT_REFUSED"],
  ["patch", "wants another token", realm("https://127.0.0.1:1/"), "CONNECTION_REFUSED"],
  ["patch", "hangs up", () => "drop", ["CONNECTION_LOST", "BODY_TOO_LARGE"]],
  ["patch", "hangs up in the middle once", once(brokenOff), "pushed"],
  ["patch", "loses its answer once", once(lost), "pushed"],
];

const CLOSES: Row[] = [
  ["close-upload", "says 201, and has nothing", says(201), "REGISTRY_REFUSED"],
  ["close-upload", "says 200", instead(200), "REGISTRY_UNSUPPORTED"],
  ["close-upload", "says 202", instead(202), "REGISTRY_UNSUPPORTED"],
  ["close-upload", "says 204", instead(204), "pushed"],
  [
    "close-upload",
    "says another digest",
    reworded((headers) => headers.set("docker-content-digest", "sha256:0")),
    "pushed",
  ],
  ["close-upload", "says 400", says(400, {}, LOUD), "REGISTRY_REFUSED"],
  ["close-upload", "says 404", says(404), "REGISTRY_REFUSED"],
  ["close-upload", "says 413", says(413), "BODY_TOO_LARGE"],
  ["close-upload", "says 500 once", once(says(500)), "pushed"],
  ["close-upload", "loses its answer once", once(lost), "pushed"],
  ["close-upload", "always loses its answer", lost, "pushed"],
  ["close-upload", "hangs up", () => "drop", ["CONNECTION_LOST", "BODY_TOO_LARGE"]],
  ["close-upload", "leads to the metadata", says(307, { location: METADATA }), "REDIRECT_REFUSED"],
];

const withoutDigest = reworded((headers) => headers.delete("docker-content-digest"));
const MANIFESTS: Row[] = [
  ["put-manifest", "says no digest", withoutDigest, "pushed"],
  [
    "put-manifest",
    "says another digest",
    reworded((headers) => headers.set("docker-content-digest", `sha256:${"0".repeat(64)}`)),
    "CONTENT_MISMATCH",
  ],
  [
    "put-manifest",
    "says a loud digest",
    reworded((headers) => headers.set("docker-content-digest", CREDENTIALS.password)),
    "CONTENT_MISMATCH",
  ],
  ["put-manifest", "says 201, and has nothing", says(201), "CONTENT_MISMATCH"],
  ["put-manifest", "says 200", says(200), "REGISTRY_UNSUPPORTED"],
  ["put-manifest", "says 202", says(202), "REGISTRY_UNSUPPORTED"],
  ["put-manifest", "says 400", says(400, {}, LOUD), "REGISTRY_REFUSED"],
  [
    "put-manifest",
    "always misses blobs",
    says(400, {}, '{"errors":[{"code":"MANIFEST_BLOB_UNKNOWN"}]}'),
    "REGISTRY_REFUSED",
  ],
  ["put-manifest", "says 403", says(403), "DENIED"],
  ["put-manifest", "says 413", says(413), "BODY_TOO_LARGE"],
  ["put-manifest", "says 500 once", once(says(500)), "pushed"],
  ["put-manifest", "wants a wait of a year", says(503, YEAR), "STALLED"],
  [
    "put-manifest",
    "leads elsewhere",
    ({ elsewhere }) => Response.redirect(elsewhere, 307),
    "REGISTRY_UNSUPPORTED",
  ],
  [
    "put-manifest",
    "leads in circles",
    ({ request }) => Response.redirect(request.url, 307),
    "REDIRECT_REFUSED",
  ],
  ["put-manifest", "loses its answer once", once(lost), "pushed"],
  ["put-manifest", "hangs up", () => "drop", LOST],
];

/** Answers that are right but for what they carry, and wrong ones, at each kind of request. */
const CARRIERS: Row[] = (
  ["head-blob", "start-upload", "patch", "close-upload", "put-manifest"] as const
).flatMap((kind) =>
  BODIES.filter(() => kind !== "head-blob").flatMap(([name, body, headers]): Row[] => [
    [
      kind,
      `is right, with ${name}`,
      async ({ answer }) => {
        const right = await answer();
        for (const [name, value] of Object.entries(headers ?? {})) right.headers.set(name, value);
        right.headers.delete("content-length");
        return new Response(body(), { status: right.status, headers: right.headers });
      },
      "pushed",
    ],
    [
      kind,
      `says 400, with ${name}`,
      () => new Response(body(), { status: 400, headers: headers ?? {} }),
      "REGISTRY_REFUSED",
    ],
  ]),
);

const LEFTOVERS: Row[] = [
  ...[
    says(500),
    says(401),
    says(302, { location: METADATA }),
    () => "drop" as const,
    () => new Response(silent()),
  ].map((fault, i): Row => ["cancel-upload", `does not matter (${i})`, fault, "BODY_TOO_LARGE"]),
  ...[
    says(500),
    says(401),
    says(404),
    says(204, { range: "0-99999999" }),
    says(204, { range: "garbage" }),
    () => "drop" as const,
  ].map(
    (fault, i): Row => [
      "upload-status",
      `does no harm (${i})`,
      fault,
      ["REGISTRY_FAILED", "CONNECTION_LOST"],
    ],
  ),
];

export const ROWS: readonly Row[] = [
  ...GREETING,
  ...TOKENS,
  ...HEADS,
  ...STARTS,
  ...PATCHES,
  ...CLOSES,
  ...MANIFESTS,
  ...CARRIERS,
  ...LEFTOVERS,
];
