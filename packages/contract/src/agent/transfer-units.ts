/** Unit of copy, digest and journal of a transfer. */
export const transferChunkBytes = 1024 * 1024;
/** Connections between the two movers of a transfer, each with one chunk in flight: what a killed mover may send again. */
export const transferStreams = 4;
