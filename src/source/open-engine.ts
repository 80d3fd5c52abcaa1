import { shortDigest } from "../oci/digest.ts";
import { assertLayerCount, type ImageOrigin, type Layer, parseImageConfig } from "../oci/image.ts";
import { engineTitle } from "./engine/failures.ts";
import { findEngineImage } from "./engine/find-image.ts";
import { assertPlatforms, type EngineImage } from "./engine/inspect.ts";
import { saveEngineImage } from "./engine/save.ts";
import { contentReader } from "./files/content.ts";
import { openContent } from "./open-content.ts";
import type { PlatformChoice } from "./select-platform.ts";
import {
  NOTHING_TO_CLOSE,
  type OpenedSource,
  type SavedSource,
  type SourceOptions,
  type StoredSource,
} from "./source.ts";
import { askEarly, openStorage, type Storage } from "./storage/open-storage.ts";
import { countBytes } from "./stream/count-bytes.ts";
import { readSavedStream } from "./stream/saved-stream.ts";

/** Opens an engine's image in the engine's storage, or else as a save. Throws the errors of finding and reading it. */
export async function openEngineImage(name: string, options: SourceOptions): Promise<OpenedSource> {
  const { engineEnvironment: environment, platforms, runtime = "docker", signal, storageReader } = options;
  const info = askEarly({ runtime, command: runtime, environment, signal });
  const { engine, image } = await findEngineImage(name, { ...options, environment });
  const origin: ImageOrigin = {
    kind: "engine",
    name,
    engine: engineTitle(engine.runtime),
    date: new Date(image.created),
    sizeBytes: undefined,
  };
  assertPlatforms(image, name, engine, platforms);
  const asked = engine.command === runtime ? info : undefined;
  const storage = await openStorage(image, engine, { reader: storageReader, info: asked });
  const stored = await openStored(storage, image, origin, options);
  if (typeof stored !== "string") return stored;
  const save: SavedSource["save"] = (onProgress) =>
    countBytes(saveEngineImage(image, name, engine, options), onProgress);
  return {
    access: "save",
    origin,
    image,
    engine,
    whySaved: stored,
    save,
    read: (onProgress) =>
      readSavedStream(save(onProgress), `archive that ${engine.runtime} saved of "${name}"`, image),
    // A save ends when its reader stops, or with the signal.
    ...NOTHING_TO_CLOSE,
  };
}

/** Opens an image in the engine's storage. Returns the reason if that does not work. */
async function openStored(
  storage: Storage,
  image: EngineImage,
  origin: ImageOrigin,
  options: PlatformChoice & Pick<SourceOptions, "signal">,
): Promise<(StoredSource & AsyncDisposable) | string> {
  if (storage.kind === "none") return storage.reason;
  const title = `image "${origin.name}"`;
  const about = { title, origin, names: image.names, referrers: [] };
  if (storage.kind === "content") {
    const whole = await contentReader(storage.files).read(storage.root);
    return whole.kind === "missing"
      ? `the store does not have ${whole.path}.`
      : openContent(whole, about, options, options.signal);
  }
  await using resources = new AsyncDisposableStack();
  resources.use(storage);
  const config = parseImageConfig(storage.config, `the config of the ${title}`);
  assertLayerCount(config.diffIds, storage.layers, title);
  const { blob, platform } = config;
  const layers = storage.layers.map(
    ({ diffId, ...content }): Layer => ({
      diffId,
      compression: "none",
      claimedDigest: undefined,
      content,
      name: shortDigest(diffId),
    }),
  );
  const content = { kind: "image", config: blob, layers, manifest: undefined, platform } as const;
  const opened = await openContent(content, about, options, options.signal);
  const owned = resources.move();
  return { ...opened, [Symbol.asyncDispose]: () => owned.disposeAsync() };
}
