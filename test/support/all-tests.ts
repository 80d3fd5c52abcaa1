/** Whether long tests run whole, as `npm test -- --all` and CI have it. A part of each runs otherwise. */
export const RUNS_ALL = process.env["CHUNKPUSH_TESTS"] === "all";
