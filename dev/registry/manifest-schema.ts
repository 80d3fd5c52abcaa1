import { z } from "zod";

const descriptorSchema = z.object({ mediaType: z.string(), digest: z.string(), size: z.int() });

const imageSchema = z.object({
  schemaVersion: z.literal(2),
  mediaType: z.string(),
  config: descriptorSchema,
  layers: z.array(descriptorSchema),
});

const indexSchema = z.object({
  schemaVersion: z.literal(2),
  mediaType: z.string(),
  manifests: z.array(descriptorSchema),
});

/**
 * As the registry's own, minus Docker's schema 1. `mediaType` is not optional in it, other than in the OCI spec,
 * and a manifest that matches neither shape gets zod's "Invalid input" for an answer.
 */
export const manifestSchema = imageSchema.or(indexSchema);

export type Manifest = z.infer<typeof manifestSchema>;
export type Descriptor = z.infer<typeof descriptorSchema>;
