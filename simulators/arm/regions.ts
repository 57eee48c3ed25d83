/** Regions that the simulated subscription may use, and how people write them. */
export const regions: Readonly<Record<string, string>> = {
  westeurope: 'West Europe',
  northeurope: 'North Europe',
  germanywestcentral: 'Germany West Central',
  uksouth: 'UK South',
  eastus: 'East US',
  eastus2: 'East US 2',
  westus2: 'West US 2',
  southeastasia: 'Southeast Asia',
};

/** Regions are named in two ways: `West Europe` is `westeurope`. */
export function regionOf(text: string): string {
  return text.toLowerCase().replaceAll(' ', '');
}
