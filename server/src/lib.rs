//! Esker behind the DynamoDB wire protocol.
