import pLimit from "p-limit";
import { layerAsClaimed, prepareLayer, repairLayer } from "../layers/prepare.ts";
import type { DiffId } from "../oci/digest.ts";
import type { Image, Layer } from "../oci/image.ts";
import type { Task } from "../report/events.ts";
import { findCachedLayer } from "../store/layers.ts";
import { type LayerMaker, layerName, type MakerOptions } from "./layer-maker.ts";

/**
 * Layers that can be read in any order: the largest come first, so that the last one to be uploaded is small. One is
 * worked on at a time, by all cores.
 */
export function storedLayerMaker(image: Image, options: MakerOptions): LayerMaker {
  const { report } = options;
  const preparing = pLimit(1);
  const prepare = (layer: Layer, name: string, how = prepareLayer) =>
    preparing(async () => {
      const verb = layer.compression === "none" && options.pool !== undefined ? "compressing" : "checking";
      const task: Task = { id: `prepare ${name}`, verb, subject: name, totalBytes: layer.content.size };
      const prepared = await how(layer, {
        ...options,
        onProgress: (doneBytes) => report({ type: "task-progress", task, doneBytes }),
        onWaiting: () => report({ type: "other-push-awaited", subject: name, work: "compress" }),
      });
      const resultBytes = prepared.blob.descriptor.size;
      if (prepared.origin === "cache")
        report({ type: "layer-cached", subject: name, sizeBytes: resultBytes });
      else report({ type: "task-finished", task, resultBytes });
      return prepared;
    });
  const rawLayer = (diffId: DiffId) => {
    const layer = image.layers.find((each) => each.diffId === diffId && each.compression === "none");
    if (layer === undefined) throw new Error(`The image has no raw layer ${diffId}.`);
    return layer;
  };
  return {
    config: image.config,
    layers: image.layers.map((layer, i) => {
      const { diffId, compression, claimedDigest } = layer;
      const name = layerName(diffId, i, image.layers.length);
      const isRaw = compression === "none";
      if (isRaw && options.pool !== undefined) return { diffId, name, identity: diffId };
      // The same layer may be compressed in several ways.
      const identity = isRaw ? diffId : `${diffId} ${claimedDigest ?? layer.name}`;
      const check = () => prepare(layer, name);
      return { diffId, name, identity, check: async () => layerAsClaimed(layer, options.signal) ?? check() };
    }),
    findCached: ({ diffId }) => findCachedLayer(options.cache, diffId, options.pool?.form),
    make(wanted) {
      const layers = wanted
        .map(({ diffId, name }) => ({ layer: rawLayer(diffId), name }))
        .sort((a, b) => b.layer.content.size - a.layer.content.size)
        .map(({ layer, name }) => [layer.diffId, prepare(layer, name)] as const);
      return { config: Promise.resolve(image.config), layers: new Map(layers) };
    },
    repair: ({ diffId, name }) => prepare(rawLayer(diffId), name, repairLayer),
  };
}
