/** The columns before the features, by the names that Azure ML's data collector gave them in 2018. */
export const leadingColumns2018 = ['$Timestamp', '$CorrelationId', '$RequestId'];

/** The columns behind the features, by the names that Azure ML's data collector gave them from 2019 on. */
export const trailingColumns = [
  '$aml_dc_correlation_id',
  '$aml_dc_scoring_timestamp',
  '$aml_dc_boundary',
  '$aml_workspace',
  '$aml_service_name',
  '$aml_model_name',
  '$aml_model_version',
  '$aml_request_id',
];
