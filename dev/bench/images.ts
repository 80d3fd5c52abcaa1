import { existsSync } from "node:fs";
import { join } from "node:path";
import { compressImage } from "./compress-image.ts";
import { makeImage } from "./make-image.ts";

/** The files that cases push: made when they are asked for, and kept for the next time. */
export type Images = {
  /** `docker save` of the image. @returns its path */
  image(): Promise<string>;
  /** The same, but for its small last layer. */
  earlierImage(): Promise<string>;
  /** An OCI archive of the image with compressed layers. */
  compressedArchive(): Promise<string>;
  /** The same as a folder, an OCI layout. */
  compressedFolder(): Promise<string>;
};

/** @param bytes of all layers together */
export function imagesIn(folder: string, bytes: number, say: (line: string) => void): Images {
  const at = (name: string) => join(folder, `${bytes}-${name}`);
  const once = async (path: string, make: () => Promise<void>) => {
    if (!existsSync(path)) {
      say(`Making ${path} …`);
      await make();
    }
    return path;
  };
  const image = () =>
    once(at("image.tar"), () => makeImage(at("image.tar"), { bytes, tag: "v2", app: "of today" }));
  const compressed = { archive: at("compressed.tar"), folder: at("compressed") };
  const compressedArchive = () =>
    once(compressed.archive, async () => compressImage(await image(), compressed));
  return {
    image,
    compressedArchive,
    earlierImage: () =>
      once(at("earlier.tar"), () => makeImage(at("earlier.tar"), { bytes, tag: "v1", app: "of yesterday" })),
    compressedFolder: async () => {
      await compressedArchive();
      return compressed.folder;
    },
  };
}
