/** A registry that answers at random: the proxy answers in the terms of the specification, or breaks the connection. */
import { expect, test } from "bun:test";
import { digestOf } from "../../src/oci/digest.ts";
import { FUZZ_TIMEOUT, fuzz, HAS_MANY_CASES, type Random } from "../support/fuzz.ts";
import { startTestProxy } from "../support/proxy.ts";

const DIGEST = digestOf(Buffer.from("a blob"));
const STATUSES = [
  "200 OK",
  "201 Created",
  "204 No Content",
  "206 Partial",
  "301 Moved",
  "304 Not Modified",
  "307 Temporary",
  "400 Bad",
  "401 Unauthorized",
  "403 No",
  "404 None",
  "416 Range",
  "418 Teapot",
  "429 Slow",
  "499 x",
  "500 x",
  "599 x",
  "600 x",
  "999 x",
  "000 x",
  "99 x",
  "2e2 x",
  "",
];
const HEADERS = [
  "Content-Length: 5",
  "Content-Length: 99",
  "Content-Length: x",
  "Content-Length: 99999999999999999999",
  "Transfer-Encoding: chunked",
  "Content-Type: text/html",
  "Content-Type: \x00",
  "Content-Type: caf\xc3\xa9",
  "ETag: \xff\xfe",
  `ETag: ${"e".repeat(3000)}`,
  "Content-Range: bytes */*",
  "Content-Encoding: gzip",
  "Docker-Content-Digest: x",
  `Docker-Content-Digest: ${DIGEST}`,
  "Docker-Content-Digest: \xe2\x82\xac",
  "Location: /v2/",
  "Location: //",
  "Location: http://[",
  "Location: http://169.254.169.254/",
  "Location: \xff",
  "Link: <\xe2\x82\xac?last=a>; rel=next",
  "Link: <?last=\xff>",
  `Link: ${"<".repeat(3000)}`,
  "Link: ;;;,,,<>",
  "Retry-After: 0",
  "Retry-After: -1",
  'WWW-Authenticate: Bearer realm="x"',
  "WWW-Authenticate: Basic",
  "OCI-Filters-Applied: \xff",
  "OCI-Subject: x",
  "no header at all",
  ": empty",
];
const BODIES = [
  "",
  "hello",
  "{}",
  "[]",
  "null",
  '{"tags":null}',
  '{"tags":["\u2028"]}',
  '{"repositories":[1]}',
  '{"manifests":[{}]}',
  '{"errors":[{"code":"\\u0000","message":"\\u001b[31m"}]}',
  '{"errors":{}}',
  '{"subject":{"digest":"sha256:x"}}',
  `{"subject":{"digest":"${DIGEST}"}}`,
  `{"manifests":[{"digest":"${DIGEST}","artifactType":1}]}`,
  "5\r\nhello\r\n0\r\n\r\n",
  "5\r\nhel",
  "[".repeat(100_000),
  "\x1f\x8b\x08\x00",
];
const REQUESTS = [
  ["GET", "/v2/_catalog"],
  ["GET", "/v2/a/tags/list?n=1"],
  ["HEAD", `/v2/a/blobs/${DIGEST}`],
  ["GET", `/v2/a/blobs/${DIGEST}`],
  ["DELETE", `/v2/a/blobs/${DIGEST}`],
  ["HEAD", "/v2/a/manifests/v1"],
  ["GET", "/v2/a/manifests/v1"],
  ["PUT", "/v2/a/manifests/v1"],
  ["DELETE", `/v2/a/manifests/${DIGEST}`],
  ["GET", `/v2/a/referrers/${DIGEST}?artifactType=x`],
  ["POST", `/v2/a/blobs/uploads/?mount=${DIGEST}&from=b`],
] as const;
const MANIFEST = JSON.stringify({ mediaType: "application/x", subject: { digest: DIGEST } });

function randomAnswer(random: Random): string {
  const lines = Array.from({ length: random.below(4) }, () => random.pick(HEADERS));
  return [`HTTP/1.1 ${random.pick(STATUSES)}`, ...lines, "", random.pick(BODIES)].join("\r\n");
}

test(
  "whatever a registry answers, the client gets an answer of the specification",
  async () => {
    const statuses = new Map<number, number>();
    await fuzz(2000, async (random) => {
      using upstream = Bun.listen({
        hostname: "127.0.0.1",
        port: 0,
        socket: {
          data(socket) {
            socket.end(Buffer.from(randomAnswer(random), "latin1"));
          },
        },
      });
      await using proxy = await startTestProxy(
        { url: `http://127.0.0.1:${upstream.port}` },
        { retries: 1, answerMs: 1000, stallTimeoutMs: 500 },
      );
      const [method, path] = random.pick(REQUESTS);
      const init = {
        method,
        redirect: "manual",
        decompress: false,
        ...(method === "PUT" && { body: MANIFEST }),
      };
      const response = await proxy.request(path, init as RequestInit).catch(() => undefined);
      // A body that breaks off breaks the connection, perhaps before its head has left.
      if (response === undefined) return expect(method).toBe("GET");
      const { status, headers } = response;
      const text = await response.text().catch(() => undefined);
      statuses.set(status, (statuses.get(status) ?? 0) + 1);
      expect([401, 407, 500]).not.toContain(status);
      expect(headers.has("www-authenticate")).toBe(false);
      expect(headers.has("location") && status < 400 ? headers.get("location") : "/v2/").toStartWith("/v2/");
      if (status < 400 || status === 416 || method === "HEAD") return;
      const { errors } = JSON.parse(text ?? "") as { errors: { code: string; message: string }[] };
      expect(errors[0]?.code).toMatch(/^[A-Z_]+$/);
      // biome-ignore lint/suspicious/noControlCharactersInRegex: a terminal obeys them
      expect(errors[0]?.message).not.toMatch(/[\x00-\x1f]/);
    });
    if (HAS_MANY_CASES)
      expect([statuses.get(200), statuses.get(503)].every((count = 0) => count > 5)).toBe(true);
  },
  FUZZ_TIMEOUT,
);
