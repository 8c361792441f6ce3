/** What a piece of work says when it is through. Anything it throws is a failure: logged, shown, and repeated after a back-off. */
export type Outcome =
  /** Nothing is left to do until the next nudge. */
  | { readonly done: true; readonly reason?: string }
  /** Come again after so many seconds, or at a nudge if that is earlier. `reason` is shown to operators. */
  | { readonly waitSeconds: number; readonly reason?: string }
  /** The subject no longer exists: forget the key. */
  | { readonly gone: true };
