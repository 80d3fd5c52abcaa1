import * as v from "valibot";

const descriptorSchema = v.object({
  mediaType: v.string(),
  digest: v.string(),
  size: v.pipe(v.number(), v.safeInteger()),
});

const imageSchema = v.object({
  schemaVersion: v.literal(2),
  mediaType: v.string(),
  config: descriptorSchema,
  layers: v.array(descriptorSchema),
});

const indexSchema = v.object({
  schemaVersion: v.literal(2),
  mediaType: v.string(),
  manifests: v.array(descriptorSchema),
});

/**
 * As the registry's own, minus Docker's schema 1. `mediaType` is not optional in it, other than in the OCI spec.
 */
export const manifestSchema = v.union([imageSchema, indexSchema]);

export type Manifest = v.InferOutput<typeof manifestSchema>;
export type Descriptor = v.InferOutput<typeof descriptorSchema>;
