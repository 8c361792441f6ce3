/** What the transfers of this host want of the guests they move. */
export interface TransferClaims {
  /** `paused`: leave it paused; `stopped`: do not start it; undefined: nothing. */
  claimOn(instanceKey: string): 'paused' | 'stopped' | undefined;
  /** True while a guest that stands still is needed, though its permit was given up: a permit of a later epoch lets it go on. */
  keeps(instanceKey: string): boolean;
  /** True while its memory is to come by a live move: its process receives, permit or not, and runs nothing. */
  isArriving(instanceKey: string): boolean;
  /** True while a transfer that is not over reads or fills the volume, or a backup copies it. */
  moves(volumeKey: string): boolean;
  /** What a volume that no guest has is about to be first, in words, before one may have it. */
  keptFromGuests(volumeKey: string): string | undefined;
}
