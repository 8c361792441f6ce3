/** Under this pointer a NIC refers to its subnet. */
export const subnetPointer = '/spec/subnetRef';
