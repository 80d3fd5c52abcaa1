import { PushError, RESUME } from "../errors.ts";

/** Waits for a login or a logout, which cannot be resumed. Takes the advice for pushes out of its error. */
export async function atOnce(work: Promise<void>): Promise<void> {
  try {
    await work;
  } catch (error) {
    if (!(error instanceof PushError)) throw error;
    const { code, message, hint, details, said, cause } = error;
    throw new PushError(code, message.replace(` ${RESUME}`, ""), {
      hint: hint
        ?.replace(RESUME, "Try again.")
        .replace("; it resumes", "")
        .replace("in front of the target", "in front of the registry"),
      details,
      said,
      cause,
    });
  }
}
