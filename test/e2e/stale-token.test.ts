/** A token that ends while a chunk is on its way to a real registry, which then stops reading. */
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { join } from "node:path";
import { startTokenServer, type TokenServer } from "../../dev/token-server/token-server.ts";
import { authenticate } from "../../src/registry/auth/authenticate.ts";
import { closeUpload, sendChunk, startUpload } from "../../src/registry/upload/session.ts";
import { createSelfSigned } from "../support/certificates.ts";
import { type DockerRegistry, startDockerRegistry } from "../support/docker-registry.ts";
import { requireParts } from "../support/parts.ts";
import { blobOf, clientOf, type TestClient } from "../support/registry-client.ts";
import { seededBytes } from "../support/seeded-bytes.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";

setDefaultTimeout(60_000);

const BLOB = blobOf(new Uint8Array(seededBytes(8_000_000, "stale")));
const ME = { username: "me", password: "hush-Xq7" };

describe.skipIf(!requireParts("docker-registry", "openssl"))("docker-registry with tokens", () => {
  let registry: DockerRegistry;
  let tokens: TokenServer;
  const resources = new AsyncDisposableStack();
  afterAll(() => resources.disposeAsync());
  beforeAll(async () => {
    const folder = resources.use(await temporaryFolder());
    const signing = await createSelfSigned(folder.path);
    tokens = resources.use(startTokenServer({ credentials: ME, signing }));
    const certificate = join(folder.path, "self.pem");
    registry = resources.use(await startDockerRegistry({ tokens: { ...tokens, certificate } }));
  });

  /** A client whose every request but the replayed ones goes with a token that is over. */
  function staleClient(): TestClient {
    const client = clientOf({ url: `http://${registry.host}` });
    const auth = authenticate(client.registry, ME);
    const staleAuth = { ...auth, authorization: async () => "Bearer e30.e30.e30" };
    return { ...client, registry: { ...client.registry, auth: staleAuth } };
  }

  test("gets every chunk again, with its body", async () => {
    const client = staleClient();
    for (let round = 0; round < 5; round++) {
      const started = await startUpload(client, client);
      const half = BLOB.content.size / 2;
      const first = await sendChunk(client, started, BLOB.content.slice(0, half), () => {}, client);
      const second = await sendChunk(client, first, BLOB.content.slice(half), () => {}, client);
      await closeUpload(client, second, BLOB.descriptor.digest, 60_000, client);
    }
    expect(tokens.requests.length).toBeGreaterThan(0);
  });

  test("gets a whole blob again", async () => {
    const before = tokens.requests.length;
    const client = staleClient();
    const whole = { content: BLOB.content, onPiece: () => {} };
    const session = await startUpload(client, client);
    await closeUpload(client, session, BLOB.descriptor.digest, 60_000, client, whole);
    expect(tokens.requests.length).toBeGreaterThan(before);
  });
});
