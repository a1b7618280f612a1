"""dflow.flowmanager"""
