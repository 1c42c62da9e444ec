// Package messagesconnect holds the generated client and handler of the API
// that proto/rackreach/v1/rack_service.proto describes.
package messagesconnect
