/**
 * What client and host say to each other of analyses.
 */

/** What an analysis is of: text, token ids, or the state of an id. */
export type AnalysisSubject = string | Uint32Array | { state: string };

export interface AnalysisCall {
  /** The kind and its options, as JSON. */
  request: string;
  subjects: AnalysisSubject[];
}

/** Numbers with a name and a shape. */
export interface NamedArray {
  name: string;
  shape: number[];
  data: Float32Array | Float64Array | Uint32Array;
}

export interface AnalysisAnswer {
  /** An object, as JSON. */
  value: string;
  arrays: NamedArray[];
}
