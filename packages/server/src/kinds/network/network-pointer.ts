/** Under this pointer a NIC refers to its network. It is not in the specification: kept so that a network finds its NICs without its subnets. */
export const networkPointer = '/spec/subnetRef#network';
