import type { PreparedLayer, PrepareOptions } from "../layers/prepare.ts";
import type { Descriptor, RegistryBlob } from "../oci/descriptor.ts";
import { type DiffId, shortDigest } from "../oci/digest.ts";
import type { KnownImage } from "../registry/known-images.ts";
import type { Report } from "../report/events.ts";

/** A layer of the image that is pushed. */
export type ImageLayer = {
  readonly diffId: DiffId;
  /** For people: `layer 2/5 sha256:0123456789ab`. */
  readonly name: string;
  /** Layers of one identity are the same blob. */
  readonly identity: string;
  /** Readies a layer that goes up as it is. Undefined: it is raw, and has to be compressed. */
  readonly check?: () => Promise<PreparedLayer>;
};

/** A layer that is ready, or that the registry has already. */
export type MadeLayer = PreparedLayer | { readonly present: Descriptor };

/** What comes of making layers ready, each in its own time. */
export type MadeLayers = {
  readonly config: Promise<RegistryBlob>;
  readonly layers: ReadonlyMap<DiffId, Promise<MadeLayer>>;
};

/** Makes the raw layers of one image ready. */
export type LayerMaker = {
  /** Undefined where it comes with the layers. */
  readonly config: RegistryBlob | undefined;
  /** Base first. */
  readonly layers: readonly ImageLayer[];
  /** A layer that an earlier push left in the cache. */
  findCached(layer: ImageLayer): Promise<RegistryBlob | undefined>;
  /** @param images what the registry has, which may spare an engine the work of telling the config */
  make(wanted: readonly ImageLayer[], images: readonly KnownImage[]): MadeLayers;
  /** Makes one again that is not sound in the cache. */
  repair(layer: ImageLayer): Promise<MadeLayer>;
};

export type MakerOptions = Pick<PrepareOptions, "cache" | "locks" | "pool" | "signal"> & {
  readonly report: Report;
};

/** What people call a layer. */
export function layerName(diffId: DiffId, place: number, count: number): string {
  return `layer ${place + 1}/${count} ${shortDigest(diffId)}`;
}
