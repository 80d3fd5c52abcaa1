import { mkdir, symlink } from "node:fs/promises";
import { join } from "node:path";
import type { DockerEngine } from "../support/docker-engine.ts";
import { seededBytes } from "../support/seeded-bytes.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";

/** What the one big layer has in it: as nothing compresses it, it is four chunks of 1 MB. */
const BIG_BYTES = 3_300_000;
const UNICODE_NAME = "grüße 文件";

// The first and the third layer are equal: they hold /same alone, with the same content.
const DOCKERFILE = `FROM scratch
COPY a /same
COPY b /same
COPY a /same
ADD big.bin /
COPY tree /tree
ENV GREETING=hello
CMD ["/tree/link"]
`;

/** Builds an image of five layers, two of them equal, with links and names beyond ASCII. */
export async function buildTestImage(engine: DockerEngine, name: string): Promise<void> {
  await using folder = await temporaryFolder();
  const at = (path: string) => join(folder.path, path);
  await Bun.write(at("Dockerfile"), DOCKERFILE);
  await Bun.write(at("a"), "the same\n");
  // Engines take a file of the same size and time for the same file.
  await Bun.write(at("b"), "something else\n");
  await Bun.write(at("big.bin"), seededBytes(BIG_BYTES, "big.bin"));
  await mkdir(at(`tree/${UNICODE_NAME}`), { recursive: true });
  await Bun.write(at(`tree/${UNICODE_NAME}/ñ😀.txt`), "hello\n");
  await symlink(`${UNICODE_NAME}/ñ😀.txt`, at("tree/link"));
  await symlink("nowhere", at("tree/dangling"));
  await engine.docker("build", "--quiet", "--tag", name, folder.path);
}

/** Builds an image that has settings, but no layer. */
export async function buildEmptyImage(engine: DockerEngine, name: string): Promise<void> {
  await using folder = await temporaryFolder();
  await Bun.write(join(folder.path, "Dockerfile"), 'FROM scratch\nENV GREETING=hello\nCMD ["/none"]\n');
  await engine.docker("build", "--quiet", "--tag", name, folder.path);
}
