"""Support of scripts written for HOOPS AI; nothing here is needed otherwise."""
