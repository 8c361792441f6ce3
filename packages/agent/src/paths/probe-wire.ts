/**
 * What a probe says over its connection. The dialler asks with one octet and gets it back, a few times; then it says `load` and sends as much as
 * goes through. The listener ends it with one line of JSON: the octets that came after the first and their time, milliseconds.
 */
export const probeWord = { ping: 0x70, load: 0x6c } as const;
