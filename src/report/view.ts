import type { Report } from "./events.ts";

/** Where a person or a program follows a push. Disposal ends it, and leaves the terminal as it was. */
export type View = Disposable & {
  readonly report: Report;
  /** Prints a line between what the view shows. */
  print(line: string): void;
  /** Holds everything back while a question is on the screen. */
  pauseFor<T>(question: Promise<T>): Promise<T>;
};
