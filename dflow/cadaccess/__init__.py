"""dflow.cadaccess"""
