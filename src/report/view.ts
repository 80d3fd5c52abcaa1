import type { Report } from "./events.ts";

/** Shows a push to a person or a program. Disposal ends it and restores the terminal. */
export type View = Disposable & {
  readonly report: Report;
  /** Prints a line among those of the view. */
  print(line: string): void;
  /** Holds all output back while a question is on the screen. */
  pauseFor<T>(question: Promise<T>): Promise<T>;
};
