"""dflow.cadencoder"""
