import { PushError, RESUME } from "../errors.ts";

/** Does what is over at once, and can be asked for again. Its errors have none of a push's words. */
export async function atOnce(work: Promise<void>): Promise<void> {
  try {
    await work;
  } catch (error) {
    if (!(error instanceof PushError)) throw error;
    const { code, message, hint, details, said, cause } = error;
    throw new PushError(code, message.replace(` ${RESUME}`, ""), {
      ...(hint !== undefined && {
        hint: hint
          .replace(RESUME, "Try again.")
          .replace("; it resumes", "")
          .replace("in front of the target", "in front of the registry"),
      }),
      ...(said !== undefined && { said }),
      details,
      cause,
    });
  }
}
